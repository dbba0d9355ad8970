//! Servers that other machines reach, started from the sample configurations as a unit of systemd would: they want secrets, and serve
//! only tables that have a password, unless they are told that whoever reaches them is welcome.

use redis::cmd;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tests::doors::redis;
use tests::eventually;
use tests::program::{Ended, command, refused, run};

const SECRETS: [(&str, &str); 2] = [
    ("admin_secret", "\"open sesame\""),
    ("cluster_secret", "\"shibboleth\""),
];

/// The sample for the role with other values for some of its keys.
fn configuration(directory: &Path, role: &str, values: &[(&str, &str)]) -> PathBuf {
    let sample = format!("{}/../deploy/{role}.toml", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(sample).expect("there is a sample");
    for (key, value) in values {
        let line = format!("\n{key} = ");
        let at = text.find(&line).expect("the sample has the key") + line.len();
        let end = at + text[at..].find('\n').expect("a line has an end");
        text.replace_range(at..end, value);
    }
    let file = directory.join(format!("{role}.toml"));
    std::fs::write(&file, text).expect("the directory is writable");
    file
}

fn server(role: &str, configuration: &Path) -> Command {
    let mut command = command([role, "--config"]);
    command.arg(configuration);
    command
}

/// A running server, gone with its value.
struct Server(Child, String);

impl Server {
    fn start(role: &str, configuration: &Path) -> Self {
        let mut child = server(role, configuration)
            .stdout(Stdio::piped())
            .spawn()
            .expect("tulpar starts");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("text");
        Self(child, ready)
    }

    /// Where this machine reaches one of its ports.
    fn port(&self, kind: &str) -> String {
        let wanted = format!(" {kind} 0.0.0.0:");
        let rest = self.1.split_once(&wanted);
        let (_, rest) = rest.unwrap_or_else(|| panic!("no {kind} in {:?}", self.1));
        let end = rest.find(|c: char| !c.is_ascii_digit());
        format!("127.0.0.1:{}", &rest[..end.unwrap_or(rest.len())])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn servers_that_others_reach_want_secrets_and_serve_tables_with_a_password() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let place = |role: &str| format!("{:?}", directory.path().join(role));
    let (meta_data, replica_data) = (place("meta"), place("replica"));
    let anywhere = ("listen", "\"0.0.0.0:0\"");
    let no_http = ("http", "\"\"");
    let meta = vec![anywhere, no_http, ("data_dir", &meta_data)];
    let replica = vec![
        anywhere,
        ("redis", "\"0.0.0.0:0\""),
        no_http,
        ("data_dir", &replica_data),
    ];
    for (role, values) in [("meta", &meta), ("replica", &replica)] {
        let start = |values: &[_]| {
            let file = configuration(directory.path(), role, values);
            refused(&mut server(role, &file))
        };
        for secret in [&[][..], &SECRETS[..1], &SECRETS[1..]] {
            let line = start(&[values, secret].concat());
            assert!(line.contains("admin_secret and cluster_secret"), "{line}");
        }
        let line = start(&[&values[..], &SECRETS, &[("http", "\"0.0.0.0:0\"")]].concat());
        assert!(line.contains("http_secret"), "{line}");
    }
    let gateway = configuration(directory.path(), "gateway", &[anywhere, no_http]);
    let line = refused(&mut server("gateway", &gateway));
    assert!(line.contains("allow_unauthenticated"), "{line}");

    let file = configuration(directory.path(), "meta", &[&meta[..], &SECRETS].concat());
    let meta = Server::start("meta", &file);
    let meta_port = meta.port("grpc");
    let meta_list = format!("[{meta_port:?}]");
    let replica = [&replica[..], &SECRETS, &[("meta", &meta_list)]].concat();
    let file = configuration(directory.path(), "replica", &replica);
    let guarded = Server::start("replica", &file);
    let shell = |arguments: &[&str]| -> Ended {
        let connection = ["--meta", &meta_port, "--admin-secret", "open sesame"];
        let mut command = command(["shell"]);
        run(command.args(connection).args(arguments))
    };
    let create = |name: &str, more: &[&str]| {
        let one = [
            "table",
            "create",
            name,
            "--partitions",
            "1",
            "--replicas",
            "1",
        ];
        let arguments = [&one, more].concat();
        eventually("the table is created", || {
            let ended = shell(&arguments);
            ended.status.success().then_some(()).ok_or(ended.stderr)
        });
    };
    create("open", &[]);
    create("closed", &["--password", "p"]);

    let said = |port: &str, command: &[&str]| {
        let connection = &mut redis(port);
        let reply = cmd(command[0])
            .arg(&command[1..])
            .query::<String>(connection);
        reply.map_err(|error| error.to_string())
    };
    let port = guarded.port("redis");
    eventually("the table with a password is served", || {
        said(&port, &["AUTH", "closed", "p"])
    });
    let denied = said(&port, &["AUTH", "open", "p"]);
    let denied = denied.expect_err("it has no password");
    assert!(denied.contains("has no password"), "{denied}");
    let set = |table: &[&str]| shell(&[table, &["set", "k", "v"]].concat());
    let ended = set(&["--table", "closed", "--password", "p"]);
    assert!(ended.status.success(), "{ended:?}");
    let ended = set(&["--table", "open"]);
    assert!(ended.stderr.contains("has no password"), "{ended:?}");

    drop(guarded);
    let welcome = ("allow_unauthenticated", "true");
    let file = configuration(
        directory.path(),
        "replica",
        &[&replica[..], &[welcome]].concat(),
    );
    let open = Server::start("replica", &file);
    eventually("the table without a password is served", || {
        said(&open.port("redis"), &["AUTH", "open", "p"])
    });
    eventually("programs use it too", || {
        let ended = set(&["--table", "open"]);
        ended.status.success().then_some(()).ok_or(ended.stderr)
    });
}
