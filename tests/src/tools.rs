//! Other people's programs, run as users run them: Debian's Redis tools and redis-py against a port, Kubernetes' schemas.

use crate::program::{Ended, run};
use std::path::{Path, PathBuf};
use std::process::Command;

fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').expect("an address is host:port")
}

/// `redis-cli` with the arguments; its whole answer, trimmed. Panics if it fails.
pub fn redis_cli(address: &str, arguments: &[&str]) -> String {
    let (host, port) = host_and_port(address);
    let ended = ran(Command::new("redis-cli")
        .args(["-h", host, "-p", port])
        .args(arguments));
    ended.stdout.trim_end().to_owned()
}

/// `redis-benchmark -q` with the arguments; its report.
pub fn redis_benchmark(address: &str, arguments: &[&str]) -> String {
    let (host, port) = host_and_port(address);
    let ended = ran(Command::new("redis-benchmark")
        .args(["-h", host, "-p", port, "-q"])
        .args(arguments));
    assert!(
        ended.stderr.trim().is_empty(),
        "redis-benchmark complained: {}",
        ended.stderr
    );
    ended.stdout
}

/// A Python program of `tests/python` with the arguments; what it printed.
pub fn python(program: &str, arguments: &[&str]) -> String {
    let path = format!("{}/tests/python/{program}", env!("CARGO_MANIFEST_DIR"));
    // The distribution's: `scripts/setup` gives it its modules, and another may come first in PATH.
    ran(Command::new("/usr/bin/python3").arg(path).args(arguments)).stdout
}

/// Kubernetes' own schemas held against a manifest; what was said of it. Panics if it does not fit.
pub fn kubernetes_validate(manifest: &Path) -> String {
    let program = python_tool("kubernetes-validate");
    let ended = ran(Command::new(program).arg("--strict").arg(manifest));
    format!("{}{}", ended.stdout, ended.stderr)
}

/// The documents of a YAML file.
pub fn yaml(file: &Path) -> Vec<serde_json::Value> {
    const PROGRAM: &str =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let ended = ran(Command::new(python_tool("python"))
        .args(["-c", PROGRAM])
        .arg(file));
    serde_json::from_str(&ended.stdout).expect("what Python printed is JSON")
}

/// A program of the environment that `scripts/setup test` makes.
fn python_tool(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME").expect("there is a home directory");
    Path::new(&home).join(".cache/tulpar/python/bin").join(name)
}

fn ran(command: &mut Command) -> Ended {
    let ended = run(command);
    assert!(ended.status.success(), "{command:?}: {ended:?}");
    ended
}
