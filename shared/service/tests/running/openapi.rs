//! The description of a service's paths is the one that is kept beside its code.

use std::path::Path;

/// Compares with `openapi.json` of the crate; with `BPS_ACCEPT` set, writes it.
pub(crate) async fn check(url: &str, crate_folder: &str) {
    let told: serde_json::Value =
        reqwest::get(url).await.expect("an answer").json().await.expect("JSON");
    let told = format!("{}\n", serde_json::to_string_pretty(&told).expect("a text"));
    let path = Path::new(crate_folder).join("openapi.json");
    if std::env::var_os("BPS_ACCEPT").is_some() {
        std::fs::write(&path, &told).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == told,
        "{} is not what {url} tells: look at the difference, then run this test with BPS_ACCEPT=1",
        path.display()
    );
}
