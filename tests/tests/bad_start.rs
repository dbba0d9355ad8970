//! Starts that cannot be: each ends with exit code 2 and one line that says why, and disturbs nobody.

use redis::cmd;
use std::path::Path;
use tests::doors::redis;
use tests::program::{command, refused};
use tests::{Cluster, Options, Server};

fn field(value: Option<String>) -> String {
    value.expect("this server has that port")
}

/// A configuration of a second replica server beside the cluster's.
fn replica(cluster: &Cluster, listen: &str, redis: &str, data_dir: &Path, more: &str) -> String {
    let file = cluster.scratch("replica.toml");
    let text = format!(
        "[replica]\nhttp = \"127.0.0.1:0\"\nlisten = \"{listen}\"\nredis = \"{redis}\"\nmeta = [\"{}\"]\ndata_dir = \"{}\"\n{more}",
        cluster.meta(),
        data_dir.display()
    );
    std::fs::write(&file, text).expect("a place for the configuration");
    file.to_string_lossy().into_owned()
}

#[test]
fn a_replica_server_that_cannot_start_says_why_in_one_line_and_ends_with_2() {
    let cluster = Cluster::start(Options::default());
    let running: Server = cluster.server("replica-1");
    let empty = cluster.scratch("empty");
    let any = "127.0.0.1:0";
    let start = |file: &str| refused(&mut command(["replica", "--config", file]));

    let file = replica(&cluster, any, any, &empty, "lisen = \"127.0.0.1:1\"\n");
    assert!(start(&file).contains("lisen"), "a wrong key is named");
    let file = replica(
        &cluster,
        any,
        any,
        &empty,
        "[replica.budgets]\nrow_cache = \"4 parsecs\"\n",
    );
    assert!(start(&file).contains("parsecs"), "a wrong value is shown");
    let file = replica(&cluster, any, any, &empty, "this is not TOML");
    start(&file);
    assert!(start("/nosuch/file.toml").contains("/nosuch/file.toml"));

    let (grpc, resp) = (field(running.grpc), field(running.redis));
    let line = start(&replica(&cluster, &grpc, any, &empty, ""));
    assert!(line.contains(&grpc), "the port in use is named: {line}");
    let line = start(&replica(&cluster, any, &resp, &empty, ""));
    assert!(line.contains(&resp), "the port in use is named: {line}");
    let line = start(&replica(&cluster, "0.0.0.0:0", any, &empty, ""));
    assert!(line.contains("allow_unauthenticated"), "{line}");

    let locked = running.data_dir.expect("a replica server has a directory");
    let line = start(&replica(&cluster, any, any, &locked, ""));
    assert!(line.contains(&*locked.to_string_lossy()), "{line}");
    let occupied = cluster.scratch("a-file");
    std::fs::write(&occupied, "").expect("a file");
    for unusable in [&occupied, &occupied.join("below")] {
        let line = start(&replica(&cluster, any, any, unusable, ""));
        assert!(line.contains("a-file"), "{line}");
    }
    let file = replica(&cluster, any, any, &empty, "");
    let line = refused(command(["replica", "--config", &file]).env("TULPAR__REPLICA__NOSUCH", "1"));
    assert!(line.to_lowercase().contains("nosuch"), "{line}");

    assert_eq!(cluster.server("replica-1").pid, running.pid);
    assert_eq!(cmd("PING").query(&mut redis(&resp)), Ok("PONG".to_owned()));
    cluster.equal_copies("default", 3);
    assert_eq!(
        cluster.shell(&["nodes"]).as_array().map(Vec::len),
        Some(3),
        "no half start became a node"
    );
}

#[test]
fn meta_servers_gateways_and_oneboxes_that_cannot_start_say_why_in_one_line() {
    let cluster = Cluster::start(Options::default());
    let file = cluster.scratch("server.toml");
    let start = |role: &str, text: String| {
        std::fs::write(&file, text).expect("a place for the configuration");
        refused(command([role, "--config"]).arg(&file))
    };
    let (meta, gateway) = (cluster.meta(), cluster.gateway());
    let empty = cluster.scratch("empty");
    let locked = cluster
        .server("meta-1")
        .data_dir
        .expect("a meta server has a directory");
    let meta_text = |listen: &str, data_dir: &Path| {
        format!(
            "[meta]\nhttp = \"127.0.0.1:0\"\nlisten = \"{listen}\"\ndata_dir = \"{}\"\n",
            data_dir.display()
        )
    };
    assert!(start("meta", meta_text(&meta, &empty)).contains(&meta));
    assert!(start("meta", meta_text("127.0.0.1:0", &locked)).contains("in use"));
    assert!(start("meta", "[meta]\nnosuch = 1\n".into()).contains("nosuch"));
    let gateway_text = |listen: &str| {
        format!("[gateway]\nhttp = \"127.0.0.1:0\"\nlisten = \"{listen}\"\nmeta = [\"{meta}\"]\n")
    };
    assert!(start("gateway", gateway_text(&gateway)).contains(&gateway));
    assert!(start("gateway", gateway_text("127.0.0.1:0") + "nosuch = 1\n").contains("nosuch"));

    let onebox = |arguments: &[&str]| refused(command(["onebox"]).args(arguments));
    let data_dir = cluster.data_dir().to_string_lossy().into_owned();
    assert!(onebox(&["--base-port", "0", "--data-dir", &data_dir]).contains(&data_dir));
    std::fs::write(&empty, "").expect("a file");
    let occupied = empty.to_string_lossy().into_owned();
    assert!(onebox(&["--base-port", "0", "--data-dir", &occupied]).contains(&occupied));
    let other = cluster.scratch("other").to_string_lossy().into_owned();
    let port = gateway.rsplit_once(':').expect("host:port").1;
    let line = onebox(&["--base-port", "0", "--port", port, "--data-dir", &other]);
    assert!(line.contains(&gateway), "the port in use is named: {line}");

    cmd("SET")
        .arg("k")
        .arg("v")
        .exec(&mut redis(&gateway))
        .expect("the cluster serves on");
    cluster.equal_copies("default", 3);
}
