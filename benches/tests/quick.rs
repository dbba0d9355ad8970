//! The program itself, on real servers, with too little load to measure anything.

use std::path::Path;
use std::process::Command;

#[test]
fn a_quick_run_over_every_row_of_the_table_ends_well_and_prints_the_table() {
    let benches = Path::new(env!("CARGO_BIN_EXE_benches"));
    assert!(
        benches.with_file_name("tulpar").is_file(),
        "build the program first: cargo build --release --workspace --bins"
    );
    let output = Command::new(benches)
        .arg("--quick")
        .output()
        .expect("the program starts");
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{errors}");
    for row in [
        "| at the primary's own port, one partition | -P 1 | to reach | -P 16 | to reach |",
        "| GET, 3 copies, buffered |",
        "| SET, 1 copy, buffered |",
        "| HSET, 3 copies, sync |",
        "| GET, 3 copies, buffered, gateway |",
        "| SET, Redis with appendonly everysec |",
    ] {
        assert!(said.contains(row), "{row} is missing in:\n{said}");
    }
    assert!(!said.contains("failed"), "{said}");
}

#[test]
fn an_unknown_row_is_refused_in_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_benches"))
        .args(["--cell", "set-2-buffered"])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "benches: there is no row set-2-buffered; --list names them\n"
    );
}
