//! On a Kafka that speaks TLS, asks for names (SCRAM) and grants each program what `bps acl`
//! prints, and nothing else: all of it works, and nobody can do what another one may.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::Output;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reqwest::Client;
use serde_json::{Value, json};
use system_tests::budget::is_asked;
use system_tests::installation::PATIENCE;
use system_tests::own_kafka::OwnKafka;
use system_tests::processes::{Process, Work, command, tell};

const USERS: [&str; 5] =
    ["admin", "items-service", "purchase-service", "purchase-processor", "bps"];

/// Its password, which nothing may tell.
fn password(user: &str) -> String {
    format!("canary-{user}-password")
}

/// Keys and users, as `scripts/kafka` wants them.
fn secure(folder: &Path) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    // Names of their own: else the one would be taken for the other.
    ca.distinguished_name.push(DnType::CommonName, "authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let root = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    server.distinguished_name.push(DnType::CommonName, "broker");
    let server = server.signed_by(&key, &issuer).unwrap().pem();
    std::fs::write(folder.join("ca.pem"), root).unwrap();
    std::fs::write(folder.join("server.pem"), key.serialize_pem() + &server).unwrap();
    let users = USERS.map(|user| format!("{user} {}\n", password(user))).concat();
    std::fs::write(folder.join("users"), users).unwrap();
}

/// A settings file for a program that calls itself so.
fn settings(work: &Work, address: &str, user: &str, password: &str) -> String {
    let path = work.path(&format!("{user}.toml"));
    let text = format!(
        "[kafka]\nbootstrap = \"{address}\"\n[kafka.set]\n\"security.protocol\" = \"SASL_SSL\"\n\
         \"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\"sasl.username\" = \"{user}\"\n\
         \"sasl.password\" = \"{password}\"\n\"ssl.ca.location\" = \"{}\"\n",
        work.path("ca.pem").display()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs what `bps acl` prints, as an administrator would.
fn grant(kafka: &OwnKafka, work: &Work) {
    let admin = work.path("admin.properties");
    let text = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\nssl.truststore.type=PEM\n\
         ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.scram.\
         ScramLoginModule required username=\"admin\" password=\"{}\";\n",
        work.path("ca.pem").display(),
        password("admin")
    );
    std::fs::write(&admin, text).unwrap();
    let config = admin.display().to_string();
    let printed = command("bps")
        .args(["acl", "--bootstrap", kafka.address(), "--command-config", &config])
        .output()
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    for line in String::from_utf8(printed.stdout).unwrap().lines() {
        let words: Vec<&str> = line.strip_prefix("kafka-acls.sh ").unwrap().split(' ').collect();
        let Output { status, stdout, stderr } =
            kafka.tool("org.apache.kafka.tools.AclCommand", &words);
        let said = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(status.success(), "{line}: {said:?}");
    }
}

/// Asks until the answer is one of this status.
async fn until(client: &Client, url: &str, status: u16) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = match client.get(url).send().await {
            Ok(answer) if answer.status() == status => return answer.text().await.unwrap(),
            Ok(answer) => answer.text().await.unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{url}: {told}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn post(client: &Client, url: &str, body: Value) -> (u16, Value) {
    let answer = client.post(url).header("prefer", "wait=30").json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[test]
fn each_program_does_its_work_with_its_own_rights_and_no_other() {
    if !is_asked() {
        tell("secured_kafka: runs with `scripts/test --long`");
        return;
    }
    let work = Work::new("secured");
    let folder = work.path("");
    secure(&folder);
    let Some(kafka) = OwnKafka::start_secured("secured_kafka", &folder) else {
        return;
    };
    grant(&kafka, &work);
    let settings = |user: &str, password: &str| settings(&work, kafka.address(), user, password);
    let own = |user: &str| settings(user, &password(user));
    let bps = |args: &[&str], config: &str| {
        command("bps").args(args).args(["--config", config]).output().unwrap()
    };
    let created = bps(&["topics", "create"], &own("bps"));
    assert!(created.status.success(), "{created:?}");
    let start = |name: &str, program: &str, user: &str| {
        let state = work.path(&format!("state-{name}")).display().to_string();
        let config = own(user);
        let args = ["--config", &config, "--listen", "127.0.0.1:0", "--state", &state];
        let mut process = Process::start(&work, name, program, &args);
        let address = process.wait_line(&format!("{program} http://"));
        (process, format!("http://{address}"))
    };
    let (processor, decides) = start("decides", "purchase-processor", "purchase-processor");
    let (items, restocks) = start("restocks", "items-service", "items-service");
    let (purchases, buys) = start("buys", "purchase-service", "purchase-service");
    // One that calls itself by the name of another: it may not write.
    let (mut stranger, strange) = start("stranger", "purchase-service", "items-service");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::new();
        for url in [&decides, &restocks, &buys] {
            until(&client, &format!("{url}/readyz"), 200).await;
        }
        let restock = json!({"itemId": "1", "quantity": 3});
        assert_eq!(post(&client, &format!("{restocks}/items"), restock).await.0, 201);
        let request = |quantity| json!({"itemId": "1", "quantity": quantity, "purchasedBy": "a"});
        let url = format!("{buys}/purchases");
        assert_eq!(post(&client, &url, request(2)).await.0, 201);
        assert_eq!(post(&client, &url, request(2)).await.0, 409);
        let (status, told) = post(&client, &format!("{strange}/purchases"), request(1)).await;
        assert_eq!(status, 503, "{told}");
        let why = until(&client, &format!("{strange}/readyz"), 503).await;
        tell(format_args!("secured_kafka: a stranger: {why}"));
    });
    stranger.wait_log("may this program write it?");
    drop(stranger);
    let verified = bps(&["verify"], &own("bps"));
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && said.contains("0 findings"), "{verified:?}");
    let logs = [processor.log(), items.log(), purchases.log()].concat();
    [processor, items, purchases].into_iter().for_each(Process::stop);

    // A wrong password is told, and never the password itself.
    let refused = bps(&["topics", "list"], &settings("bps", "canary-wrong"));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && told.to_lowercase().contains("authentication"), "{told}");
    assert!(!told.contains("canary") && !logs.contains("canary"), "{told}");
}
