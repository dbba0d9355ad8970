//! Tables, passwords, protocols, and what clients say of themselves. What Redis says to the same is `oracle`'s.

use crate::harness::{Gateway, command};
use resp_gateway::Options;

#[test]
fn a_table_is_chosen_and_unlocked_by_auth() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    assert_eq!(client.ask("SET key default"), "+OK\r\n");
    assert_eq!(
        client.ask("AUTH locked wrong"),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    );
    assert_eq!(client.ask("GET key"), "$7\r\ndefault\r\n");
    assert_eq!(client.ask("AUTH locked secret"), "+OK\r\n");
    assert_eq!(client.ask("GET key"), "$-1\r\n");
    assert_eq!(
        client.ask("AUTH nowhere x"),
        "-WRONGPASS no such table 'nowhere'\r\n"
    );
    assert_eq!(client.ask("RESET"), "+RESET\r\n");
    assert_eq!(client.ask("GET key"), "$7\r\ndefault\r\n");
    assert!(
        client
            .ask("HELLO 3 AUTH locked secret SETNAME me")
            .starts_with("%7\r\n")
    );
    assert_eq!(client.ask("CLIENT GETNAME"), "$2\r\nme\r\n");
    assert_eq!(client.ask("GET key"), "_\r\n");
    assert!(client.ask("CLIENT INFO").contains("user=locked"));
}

fn locked() -> Gateway {
    let options = Options {
        default_table: "locked".into(),
        ..Options::default()
    };
    Gateway::with(options, |memory| memory)
}

#[test]
fn nothing_but_authentication_is_served_before_it() {
    let gateway = locked();
    let mut client = gateway.connect();
    for line in ["GET key", "PING", "CLIENT ID", "INFO", "CLUSTER KEYSLOT a"] {
        assert_eq!(
            client.ask(line),
            "-NOAUTH Authentication required.\r\n",
            "{line}"
        );
    }
    assert!(
        client
            .ask("HELLO 3")
            .starts_with("-NOAUTH HELLO must be called")
    );
    assert_eq!(client.ask("AUTH secret"), "+OK\r\n");
    assert_eq!(client.ask("GET key"), "$-1\r\n");
}

#[test]
fn limits_are_tighter_before_authentication() {
    let gateway = locked();
    let mut client = gateway.connect();
    client.send(b"*11\r\n");
    assert_eq!(
        client.rest(),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    let mut client = gateway.connect();
    client.send(b"*2\r\n$3\r\nGET\r\n$16385\r\n");
    assert_eq!(
        client.rest(),
        "-ERR Protocol error: unauthenticated bulk length\r\n"
    );
    let mut client = gateway.connect();
    let large = vec![b'x'; 20_000];
    let mut bytes = command(&[b"AUTH", b"locked", b"secret"]);
    bytes.extend(command(&[b"SET", b"key", &large]));
    client.send(&bytes);
    assert_eq!(client.reply(), "+OK\r\n");
    assert_eq!(client.reply(), "+OK\r\n");
}

#[test]
fn a_table_that_cannot_be_opened_is_asked_for_again_by_the_next_command() {
    let gateway = Gateway::start();
    gateway.tell(|memory| memory.down.set(true));
    let mut client = gateway.connect();
    assert_eq!(client.ask("PING"), "+PONG\r\n");
    let refused = "-CLUSTERDOWN table 'default' cannot be opened: no meta server answers\r\n";
    assert_eq!(client.ask("GET key"), refused);
    assert_eq!(client.ask("GET key"), refused);
    gateway.tell(|memory| memory.down.set(false));
    assert_eq!(client.ask("GET key"), "$-1\r\n");
}

#[test]
fn a_missing_default_table_is_named() {
    let options = Options {
        default_table: "nowhere".into(),
        ..Options::default()
    };
    let gateway = Gateway::with(options, |memory| memory);
    let mut client = gateway.connect();
    assert_eq!(client.ask("GET key"), "-ERR no such table 'nowhere'\r\n");
    assert_eq!(client.ask("PING"), "+PONG\r\n");
}

#[test]
fn replies_are_left_out_on_demand() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let mut bytes = command(&[b"CLIENT", b"REPLY", b"SKIP"]);
    bytes.extend(command(&[b"SET", b"a", b"1"]));
    bytes.extend(command(&[b"GET", b"a"]));
    bytes.extend(command(&[b"CLIENT", b"REPLY", b"OFF"]));
    bytes.extend(command(&[b"INCR", b"a"]));
    bytes.extend(command(&[b"NONSENSE"]));
    bytes.extend(command(&[b"CLIENT", b"REPLY", b"ON"]));
    bytes.extend(command(&[b"GET", b"a"]));
    client.send(&bytes);
    assert_eq!(client.reply(), "$1\r\n1\r\n");
    assert_eq!(client.reply(), "+OK\r\n");
    assert_eq!(client.reply(), "$1\r\n2\r\n");
}

#[test]
fn connections_are_listed_and_killed() {
    let gateway = Gateway::start();
    let mut first = gateway.connect();
    let mut second = gateway.connect();
    assert_eq!(second.ask("CLIENT SETNAME second"), "+OK\r\n");
    assert_eq!(second.ask("CLIENT SETINFO LIB-NAME some-lib"), "+OK\r\n");
    let list = first.ask("CLIENT LIST");
    assert!(
        list.contains("name=second") && list.contains("lib-name=some-lib"),
        "{list}"
    );
    assert_eq!(list.matches("\nid=").count(), 2, "{list}");
    let id = second.ask("CLIENT ID");
    let id = id.trim_start_matches(':').trim_end();
    assert_eq!(first.ask(&format!("CLIENT KILL ID {id}")), ":1\r\n");
    assert_eq!(second.rest(), "");
    assert_eq!(first.ask(&format!("CLIENT KILL ID {id}")), ":0\r\n");
    assert_eq!(
        first.ask("CLIENT KILL 1.2.3.4:5"),
        "-ERR No such client\r\n"
    );
}

#[test]
fn info_has_the_sections_asked_for_and_the_backends() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    let all = client.ask("INFO");
    assert!(all.contains("# Server\r\nredis_version:"), "{all}");
    assert!(all.contains("connected_clients:1\r\n"), "{all}");
    assert!(all.contains("# Memory\r\nrows:some\r\n"), "{all}");
    let one = client.ask("INFO memory");
    assert!(
        one.ends_with("# Memory\r\nrows:some\r\n\r\n") && !one.contains("Server"),
        "{one}"
    );
}

#[test]
fn half_a_command_before_the_end_is_forgotten_and_the_rest_answered() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    client.send(b"PING\r\n*2\r\n$3\r\nGET\r\n$100\r\nabc");
    client.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "+PONG\r\n");
    assert_eq!(gateway.connect().ask("PING"), "+PONG\r\n");
}
