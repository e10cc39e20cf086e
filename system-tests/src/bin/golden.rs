//! `golden FOLDER`: writes what this version leaves behind, for later ones to open.
#![allow(clippy::unwrap_used)] // a tool of the tests

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    system_tests::golden::write(std::path::Path::new(&folder));
}
