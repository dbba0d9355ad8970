//! How the others find the meta servers: by one name, looked up again whenever they look for whoever leads.
//!
//! Each host has its own file of names, which `ip netns exec` puts in the place of the machine's.

use crate::cluster::{Cluster, PORT};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use tests::doors::try_redis;
use tests::eventually;
use tests::fleet::Server;
use tests::fleet::network::{Host, Network};
use tests::program::{self, shows_nothing};
use tests::writers::check;

const NAME: &str = "metas.example";

/// The files of names of some hosts, gone with this value.
struct Names(Vec<PathBuf>);

impl Names {
    fn of<'a>(hosts: impl Iterator<Item = &'a Host>) -> Self {
        let folder = |host: &Host| {
            let namespace = host.namespace.as_ref().expect("hosts have namespaces");
            Path::new("/etc/netns").join(namespace)
        };
        let folders: Vec<PathBuf> = hosts.map(folder).collect();
        for folder in &folders {
            fs::create_dir_all(folder).expect("who makes namespaces may write there");
        }
        Self(folders)
    }

    /// From now on the name stands for these.
    fn lead_to(&self, addresses: &[String]) {
        let mut text = String::new();
        for address in addresses {
            let (host, _) = address.rsplit_once(':').expect("HOST:PORT");
            let _ = writeln!(text, "{host} {NAME}");
        }
        // In place: what a process sees is this file, whatever is called so later.
        let write = |folder: &PathBuf| fs::write(folder.join("hosts"), &text);
        self.0.iter().try_for_each(write).expect("a writable file");
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for folder in &self.0 {
            // It lies in the way of nobody.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// `tulpar shell` on a server's host, which knows the meta servers by their name only.
fn shell_at(server: &Server, arguments: &[&str]) -> program::Ended {
    let mut command = server.host.command(program::path());
    command.args(["shell", "--json", "--meta", &format!("{NAME}:{PORT}")]);
    program::run(command.args(arguments))
}

#[test]
fn meta_servers_that_moved_are_found_by_the_name_which_is_all_that_anybody_knew() {
    let network = Network::open();
    if !network.has_links() {
        return shows_nothing(
            "names that lead elsewhere",
            "it wants namespaces, which root makes",
        );
    }
    let mut cluster = Cluster::new(network);
    let names = Names::of(cluster.others.iter().map(|server| &server.host));
    names.lead_to(&cluster.addresses());
    cluster.serve(&[format!("{NAME}:{PORT}")]);
    let writers = cluster.writers();

    // Their machines are gone, and nobody hears them end.
    for server in &cluster.others {
        let metas = cluster.metas.iter().map(|meta| &meta.server.host);
        metas.for_each(|host| server.host.deafen(host));
    }
    cluster.metas.clear();
    cluster.add_metas(["meta-4", "meta-5", "meta-6"]);
    cluster.leader();
    writers.go_on(200);
    let nodes = cluster.shell().json(&["nodes"]);
    let nodes = nodes.as_array().expect("a list of servers");
    assert!(
        nodes.len() == 3 && nodes.iter().all(|node| node["alive"] == false),
        "nobody can know where the leader is: {nodes:?}"
    );
    assert_eq!(writers.errors(), 0, "no meta server is on the data's path");

    names.lead_to(&cluster.addresses());
    cluster.all_joined();
    let create = ["table", "create", "later", "--password", "secret"];
    cluster.shell().json(&create);
    // Where the table is only a meta server can tell the gateway.
    eventually("the gateway serves a table that was created later", || {
        let mut connection = try_redis(&cluster.gateway()).map_err(|error| error.to_string())?;
        let mut pipe = redis::pipe();
        pipe.cmd("AUTH").arg("later").arg("secret").ignore();
        pipe.cmd("SET").arg("k").arg("v").ignore();
        pipe.exec(&mut connection)
            .map_err(|error| error.to_string())
    });
    let ended = shell_at(&cluster.others[0], &["table", "list"]);
    assert!(
        ended.status.success() && ended.stdout.contains("later"),
        "{ended:?}"
    );

    let server = &mut cluster.others[0];
    server.kill();
    writers.go_on(200);
    cluster.others[0].start().expect("it starts again");
    cluster.all_joined();
    cluster.equal_copies("default");
    check(&writers.stop(), &mut cluster.sdk());
}
