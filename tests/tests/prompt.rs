//! What Tab does at the shell's prompt: lines are finished by what is declared, and by the names of what the cluster has.

use tests::terminal::Typist;
use tests::{Cluster, Options, program};

const TAB: &str = "\t";
const ENTER: &str = "\r";
/// Ctrl-U: what was typed goes.
const AWAY: &str = "\u{15}";

#[test]
fn tab_finishes_words_values_and_the_names_of_tables_and_servers() {
    let cluster = Cluster::start(Options::default());
    for name in ["orders-2026", "gone"] {
        cluster.shell(&["table", "create", name, "--partitions", "1"]);
    }
    cluster.shell(&["table", "drop", "gone", "--yes"]);
    let home = cluster.scratch("home");
    std::fs::create_dir(&home).expect("a new directory");
    let mut shell = program::command(["shell", "--meta", &cluster.meta()]);
    shell.env("HOME", home);
    let mut typist = Typist::start(shell, 120);
    typist.sees("default> ");
    for (typed, finished) in [
        ("table sh", "table show "),
        ("table show ord", "table show orders-2026 "),
        ("partitions or", "partitions orders-2026 "),
        ("table recall g", "table recall gone "),
        ("node drain replica-2", "node drain replica-2 "),
        ("config replica-1", "config replica-1 "),
        (
            "move primary orders-2026 0 --to=replica-3",
            "--to=replica-3 ",
        ),
        ("table create x --dur", "table create x --durability "),
        ("table create x --durability b", "--durability buffered "),
        ("table alter orders-2026 --read-on", "--read-only "),
        ("hot --by b", "hot --by bytes "),
    ] {
        typist.press(&format!("{typed}{TAB}"));
        typist.sees(finished);
        typist.press(AWAY);
    }
    // Of several the second Tab shows all.
    typist.press(&format!("slowlog --node {TAB}{TAB}"));
    let shown = typist.sees("replica-3");
    assert!(
        shown.contains("replica-1") && shown.contains("replica-2"),
        "{shown}"
    );
    typist.press(AWAY);
    typist.press(&format!("table show ord{TAB}{ENTER}"));
    typist.sees("1 partition");
}
