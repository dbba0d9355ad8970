//! Mode `cluster`: redirects, and the shapes in which clients learn where slots are.

use crate::harness::{Gateway, key_of_each_partition};

const FIRST: &str = "0000000000000000000000000000000000000001";
const SECOND: &str = "0000000000000000000000000000000000000002";

fn gateway() -> Gateway {
    let gateway = Gateway::cluster();
    gateway.tell(|memory| *memory.moved.borrow_mut() = vec![6, 7]);
    gateway
}

#[test]
fn a_key_of_another_server_is_redirected() {
    let gateway = gateway();
    let mut client = gateway.connect();
    let keys = key_of_each_partition();
    let slot = types::Slot::of(keys[7].as_bytes());
    let moved = format!("-MOVED {slot} 127.0.0.1:7002\r\n");
    assert_eq!(client.ask(&format!("SET {} v", keys[0])), "+OK\r\n");
    assert_eq!(client.ask(&format!("SET {} v", keys[7])), moved);
    assert_eq!(client.ask(&format!("MGET {}", keys[7])), moved);
    assert_eq!(client.ask("READONLY"), "+OK\r\n");
    assert_eq!(client.ask(&format!("GET {}", keys[7])), "$-1\r\n");
    assert_eq!(client.ask(&format!("SET {} v", keys[7])), moved);
    assert_eq!(client.ask("READWRITE"), "+OK\r\n");
    assert_eq!(client.ask(&format!("GET {}", keys[7])), moved);
    assert_eq!(
        client.ask("SELECT 1"),
        "-ERR SELECT is not allowed in cluster mode\r\n"
    );
}

#[test]
fn commands_without_keys_mean_this_servers_partitions() {
    let gateway = Gateway::cluster();
    let mut client = gateway.connect();
    for key in key_of_each_partition() {
        assert_eq!(client.ask(&format!("SET {key} v")), "+OK\r\n");
    }
    assert_eq!(client.ask("DBSIZE"), ":8\r\n");
    gateway.tell(|memory| *memory.moved.borrow_mut() = vec![0, 6, 7]);
    assert_eq!(client.ask("DBSIZE"), ":5\r\n");
    assert!(client.ask("KEYS *").starts_with("*5\r\n"));
    assert_eq!(client.ask("SCAN 16383"), "*2\r\n$1\r\n0\r\n*0\r\n");
}

#[test]
fn slots_nodes_shards_and_info_cover_all_slots() {
    let gateway = gateway();
    let mut client = gateway.connect();
    assert_eq!(client.ask("CLUSTER MYID"), format!("$40\r\n{FIRST}\r\n"));
    assert_eq!(client.ask("CLUSTER KEYSLOT foo"), ":12182\r\n");
    assert!(
        client
            .ask("CLUSTER INFO")
            .contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n")
    );
    let slots = client.ask("CLUSTER SLOTS");
    assert!(slots.starts_with(&format!(
        "*8\r\n*4\r\n:0\r\n:2047\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$40\r\n{FIRST}\r\n*0\r\n*4\r\n$9\r\n127.0.0.1\r\n:7002\r\n"
    )));
    let nodes = client.ask("CLUSTER NODES");
    let ranges = "0-2047 2048-4095 4096-6143 6144-8191 8192-10239 10240-12287";
    assert!(
        nodes.contains(&format!(
            "{FIRST} 127.0.0.1:7001@17001 myself,master - 0 0 7 connected {ranges}\n"
        )),
        "{nodes}"
    );
    assert!(
        nodes.contains(&format!(
            "{SECOND} 127.0.0.1:7002@17002 master - 0 0 7 connected 12288-14335 14336-16383\n"
        )),
        "{nodes}"
    );
    assert!(client.ask("CLUSTER SHARDS").starts_with("*2\r\n"));
    assert_eq!(
        client.ask("CLUSTER NONSENSE"),
        "-ERR unknown subcommand 'NONSENSE'. Try CLUSTER HELP.\r\n"
    );
}

#[test]
fn the_keys_of_a_slot_are_counted_and_named() {
    let gateway = gateway();
    let mut client = gateway.connect();
    assert_eq!(client.ask("SET a{foo} v"), "+OK\r\n");
    assert_eq!(client.ask("SET b{foo} v"), "+OK\r\n");
    assert_eq!(client.ask("CLUSTER COUNTKEYSINSLOT 12182"), ":2\r\n");
    assert_eq!(
        client.ask("CLUSTER GETKEYSINSLOT 12182 1"),
        "*1\r\n$6\r\na{foo}\r\n"
    );
    assert_eq!(
        client.ask("CLUSTER COUNTKEYSINSLOT 99999"),
        "-ERR Invalid slot\r\n"
    );
}
