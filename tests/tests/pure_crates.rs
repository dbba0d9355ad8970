//! The pure crates depend on nothing that does IO, reads a clock, draws random numbers or runs tasks: what cargo resolves for them is
//! held against a list. Lints keep the standard library's part of the promise.

use std::collections::BTreeSet;
use std::process::Command;

/// What each pure crate may resolve to, itself left out.
const ALLOWED: [(&str, &[&str]); 4] = [
    ("types", &["bytes"]),
    ("replication", &["bytes", "types"]),
    ("placement", &["bytes", "types"]),
    (
        "commands",
        &[
            "bytes",
            "itoa",
            "smallvec",
            "thiserror",
            "types",
            // what thiserror is made with, at build time
            "proc-macro2",
            "quote",
            "syn",
            "thiserror-impl",
            "unicode-ident",
        ],
    ),
];

fn resolved(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("cargo prints text");
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|&name| name != package)
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_pure_crate_resolves_to_nothing_beyond_its_list() {
    for (package, allowed) in ALLOWED {
        let beyond: Vec<_> = resolved(package)
            .into_iter()
            .filter(|name| !allowed.contains(&name.as_str()))
            .collect();
        assert!(beyond.is_empty(), "{package} must not depend on {beyond:?}");
    }
}
