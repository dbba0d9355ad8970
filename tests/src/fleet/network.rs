//! Where servers live: each in a network namespace of its own, all joined by a bridge; or, where the machine does not let us, on loopback.
//!
//! Links are cut by the receiver: its namespace drops what comes from the sender. So neither end is told, as with a broken cable, and
//! a link can be cut one way. What a killed run left behind is removed by the next one.

use crate::program::run;
use std::net::Ipv4Addr;
use std::process::Command;

/// Part of every name that is given to the system; the rest is the process that gave it.
const PREFIX: &str = "tpf";
const BRIDGE: &str = "bridge";

/// All hosts, and the machine's own end of the bridge, where clients are.
#[derive(Debug)]
pub struct Network {
    /// None: loopback.
    bridge: Option<Bridge>,
}

#[derive(Debug)]
struct Bridge {
    name: String,
    subnet: [u8; 3],
    hosts: u8,
}

/// Where one server lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its network namespace; none: the machine's own.
    pub namespace: Option<String>,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Network {
    /// Namespaces if this process may make them, else loopback.
    pub fn open() -> Self {
        remove_leftovers();
        let own = std::process::id();
        let bridge = Bridge {
            name: format!("{PREFIX}{own}"),
            // Of the addresses for documentation and tests between networks, of which no machine has any.
            subnet: [198, 18 + (own >> 8 & 1) as u8, own as u8],
            hosts: 1,
        };
        let name = &bridge.name;
        let address = format!("{}/24", bridge.host(1));
        // The bridge has a namespace of its own, because this machine's may filter what passes over bridges.
        let steps = [
            vec!["netns", "add", name],
            vec!["-n", name, "link", "add", BRIDGE, "type", "bridge"],
            vec!["-n", name, "link", "set", BRIDGE, "up"],
            vec![
                "link", "add", name, "type", "veth", "peer", "name", "machine", "netns", name,
            ],
            vec!["-n", name, "link", "set", "machine", "master", BRIDGE, "up"],
            vec!["address", "add", &address, "dev", name],
            vec!["link", "set", name, "up"],
        ];
        let made = done("nft", &["--version"]) && steps.iter().all(|step| done("ip", step));
        let bridge = made.then_some(bridge);
        Self { bridge }
    }

    /// The machine's own loopback, for runs that cut no links.
    pub fn loopback() -> Self {
        Self { bridge: None }
    }

    /// Whether links can be cut.
    pub fn has_links(&self) -> bool {
        self.bridge.is_some()
    }

    /// A place for one more server.
    pub fn host(&mut self) -> Host {
        let Some(bridge) = &mut self.bridge else {
            let address = Ipv4Addr::LOCALHOST;
            return Host {
                namespace: None,
                address,
            };
        };
        bridge.hosts += 1;
        let number = bridge.hosts;
        let namespace = format!("{}-{number}", bridge.name);
        let outside = format!("host-{number}");
        let address = format!("{}/24", bridge.host(number));
        let inside = |step: &[&str]| {
            must("ip", &[&["-n", namespace.as_str()], step].concat());
        };
        let switch = ["-n", bridge.name.as_str()];
        must("ip", &["netns", "add", &namespace]);
        let pair = [
            "link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
        ];
        must("ip", &[&switch[..], &pair].concat());
        let port = ["link", "set", &outside, "master", BRIDGE, "up"];
        must("ip", &[&switch[..], &port].concat());
        inside(&["address", "add", &address, "dev", "eth0"]);
        inside(&["link", "set", "eth0", "up"]);
        inside(&["link", "set", "lo", "up"]);
        let host = Host {
            namespace: Some(namespace),
            address: bridge.host(number),
        };
        host.filter("add table inet faults");
        host.filter("add set inet faults cut { type ipv4_addr; }");
        host.filter("add chain inet faults input { type filter hook input priority 0; }");
        host.filter("add rule inet faults input ip saddr @cut drop");
        host
    }
}

impl Bridge {
    fn host(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, number)
    }
}

impl Host {
    /// A command that will run on this host; the process that starts is the command's own, with nothing in between.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let Some(namespace) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }

    /// From now on nothing that `from` sends arrives here.
    pub fn deafen(&self, from: &Self) {
        self.filter(&format!(
            "add element inet faults cut {{ {} }}",
            from.address
        ));
    }

    /// Hears everybody again.
    pub fn listen(&self) {
        self.filter("flush set inet faults cut");
    }

    fn filter(&self, rule: &str) {
        if let Some(namespace) = &self.namespace {
            must("ip", &["netns", "exec", namespace, "nft", rule]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(bridge) = &self.bridge {
            remove(&bridge.name);
        }
    }
}

/// What runs left that were killed: their processes are gone.
fn remove_leftovers() {
    for name in namespaces() {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|owner| !crate::process::lives(owner)) {
            done("ip", &["netns", "delete", &name]);
        }
    }
}

fn remove(bridge: &str) {
    // The machine's end goes at once, those in a namespace with it.
    done("ip", &["link", "delete", bridge]);
    for name in namespaces() {
        let rest = name.strip_prefix(bridge);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            done("ip", &["netns", "delete", &name]);
        }
    }
}

fn namespaces() -> Vec<String> {
    let list = said("ip", &["netns", "list"]);
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

fn done(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// What it printed; nothing if it cannot be run.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn must(program: &str, arguments: &[&str]) {
    let ended = run(Command::new(program).args(arguments));
    assert!(
        ended.status.success(),
        "{program} {arguments:?}: {}",
        ended.stderr
    );
}
