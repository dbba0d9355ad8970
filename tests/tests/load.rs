//! A real text of 100,000 lines goes in and comes out equal, through redis-py and through the SDK.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tests::doors::{open, runtime};
use tests::tools::{python, redis_cli};
use tests::{Cluster, Options};
use tulpar_client::Table;

const LINES: usize = 100_000;
/// SDK requests under way at once.
const UNDER_WAY: usize = 512;

/// The project's licence, again and again; the round at a line's end makes the lines differ. Empty lines stay empty.
fn text() -> Vec<String> {
    let licence = concat!(env!("CARGO_MANIFEST_DIR"), "/../LICENSE");
    let licence = std::fs::read_to_string(licence).expect("the project has a licence");
    let rounds = (0..).flat_map(|round| {
        licence.lines().map(move |line| match line {
            "" => String::new(),
            line => format!("{line} ({round})"),
        })
    });
    rounds.take(LINES).collect()
}

async fn compare(table: &Table, prefix: &str, lines: &[Bytes]) {
    let different: Vec<usize> = stream::iter(lines.iter().enumerate())
        .map(|(number, line)| async move {
            let read = table
                .get(format!("{prefix}:{number}"))
                .await
                .expect("a read is answered");
            (read.as_ref() != Some(line)).then_some(number)
        })
        .buffer_unordered(UNDER_WAY)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(
        different.is_empty(),
        "{} lines differ, first {:?}",
        different.len(),
        different.first()
    );
}

#[test]
fn a_text_of_100_000_lines_is_read_back_equal_through_redis_py_and_the_sdk() {
    let cluster = Cluster::start(Options::default());
    let lines = text();
    let file = cluster.scratch("text");
    std::fs::write(&file, lines.join("\n") + "\n").expect("a place for the text");
    let lines: Vec<Bytes> = lines.into_iter().map(Bytes::from).collect();

    let gateway = cluster.gateway();
    let (host, port) = gateway.rsplit_once(':').expect("host:port");
    let said = python("load_lines.py", &[host, port, &file.to_string_lossy()]);
    assert_eq!(said.trim(), format!("{LINES} lines are equal"));

    runtime().block_on(async {
        let table = open(&cluster.meta(), "default").await;
        compare(&table, "python", &lines).await;
        stream::iter(lines.iter().enumerate())
            .map(|(number, line)| table.set(format!("sdk:{number}"), line.clone()))
            .buffer_unordered(UNDER_WAY)
            .try_for_each(|()| std::future::ready(Ok(())))
            .await
            .expect("every line is written");
        compare(&table, "sdk", &lines).await;
    });
    assert_eq!(redis_cli(&gateway, &["DBSIZE"]), (2 * LINES).to_string());
    cluster.equal_copies("default", 3);
}
