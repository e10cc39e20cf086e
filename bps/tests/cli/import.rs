//! `bps import`: what it does without services.

use super::*;

#[test]
fn import_waits_for_services_and_can_be_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("restocks.jsonl");
    std::fs::write(&path, "{\"itemId\":\"1\",\"quantity\":1}\n").expect("written");
    let missing = folder.path().join("nosuch");
    check(&["import", "--restocks", text(&missing)], 1, "", "nosuch: No such file");
    // Port 9 (discard) takes no connection.
    let args = ["import", "--restocks", text(&path), "--items-url", "http://127.0.0.1:9"];
    let mut import = command(&args).stderr(Stdio::piped()).spawn().expect("started");
    let mut errors = BufReader::new(import.stderr.take().expect("piped"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("a line");
    assert!(line.starts_with("http://127.0.0.1:9/items is not available"), "{line}");
    interrupt(&import);
    assert_eq!(import.wait().expect("ended").code(), Some(130));
    line.clear();
    errors.read_line(&mut line).expect("a line");
    assert!(line.starts_with("bps: interrupted (imported 0 restocks"), "{line}");
}

#[test]
fn import_of_standard_input_needs_a_prefix_for_missing_ids() {
    let mut import = command(&["import", "--purchases", "-"]);
    let mut import = import.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut stdin = import.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, b"{\"itemId\":\"1\",\"quantity\":1}\n").expect("written");
    drop(stdin);
    let output = import.wait_with_output().expect("ended");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("line 1 of standard input has no purchaseId: with --id-prefix"),
        "{told}"
    );
    assert_eq!(output.status.code(), Some(64));
}
