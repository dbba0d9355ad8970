//! The page of the cluster, as a browser shows it: headless Chromium loads it, and what it makes of it is read.

use redis::cmd;
use std::process::Command;
use tests::doors::redis;
use tests::http::{get, try_get};
use tests::program::run;
use tests::{Cluster, Options, eventually, process};

fn page_address(cluster: &Cluster) -> String {
    let meta = cluster.server("meta-1");
    meta.http.expect("a meta server speaks HTTP")
}

/// The page as the browser has it when it is loaded.
fn browsed(cluster: &Cluster, path: &str) -> String {
    let profile = cluster.scratch("chromium");
    let ended = run(Command::new("chromium")
        // Nothing of the page is run, and tests may be root's.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args([
            "--dump-dom",
            &format!("http://{}{path}", page_address(cluster)),
        ]));
    assert!(ended.status.success(), "{ended:?}");
    ended.stdout
}

#[test]
fn a_browser_shows_servers_tables_and_the_last_hour() {
    let cluster = Cluster::start(Options::default());
    let mut client = redis(&cluster.gateway());
    for number in 0..100 {
        cmd("SET")
            .arg(number)
            .arg("v")
            .exec(&mut client)
            .expect("SET");
    }
    let page = browsed(&cluster, "/");
    for promised in [
        "<title>Tulpar</title>",
        "replica-1",
        "replica-2",
        "replica-3",
        "href=\"/table?name=default\"",
        "Commands a second",
        "Commits take",
        "<polyline",
        "No partition.",
        "3 of 3",
    ] {
        assert!(page.contains(promised), "{promised} in {page}");
    }
    for foreign in ["<script", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign} in {page}");
    }
    let table = browsed(&cluster, "/table?name=default");
    assert!(
        table.contains("Table default") && table.contains("3 of 3"),
        "{table}"
    );
    assert_eq!(get(&page_address(&cluster), "/table?name=nosuch").0, 404);
    assert_eq!(get(&page_address(&cluster), "/?nodes=x").0, 400);
}

#[test]
fn the_page_says_what_is_unwell_and_what_is_being_done() {
    // Nothing is repaired within the test, so that there is something to see.
    let cluster = Cluster::start(Options::default().setting("TULPAR__META__REPAIR_DELAY", "1h"));
    process::stop(cluster.server("replica-2").process());
    let page = eventually("the page tells of the lost server", || {
        let (status, page) = try_get(&page_address(&cluster), "/")?;
        // The last is what the meta leader comes to when it misses the server, too.
        let tells = [
            "is not connected",
            "short of copies",
            "for a server that had a copy, then another gets one",
        ];
        let tells = tells.iter().all(|text| page.contains(text));
        (status == 200 && tells)
            .then_some(page)
            .ok_or("not yet".into())
    });
    assert!(page.contains("<b>replica-2</b>"), "{page}");
    assert!(page.contains("2 of 3"), "{page}");
}

#[test]
fn a_table_of_many_partitions_is_shown_in_pages() {
    let cluster = Cluster::start(Options::default());
    let create = [
        "table",
        "create",
        "wide",
        "--partitions",
        "1000",
        "--replicas",
        "1",
    ];
    cluster.shell(&create);
    let path = |page: usize| format!("/table?name=wide&page={page}");
    let address = page_address(&cluster);
    let rows = |page: &str| page.matches("<tr>").count() - 1;
    let (_, first) = get(&address, &path(1));
    assert_eq!(rows(&first), 100);
    assert!(
        first.contains("page 1 of 10") && first.contains("rel=\"next\""),
        "{first}"
    );
    let (_, last) = get(&address, &path(99));
    assert!(
        last.contains("page 10 of 10") && !last.contains("rel=\"next\""),
        "{last}"
    );
    assert!(last.contains("<td class=\"n\">999</td>"), "{last}");
}
