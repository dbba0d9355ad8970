//! What nodes and operators say to the meta leader, one message after the other, taken in by a cluster of three nodes with one table.

use super::meta_convert;
use placement::{
    Action, Cluster, Event, NodeAddress, Request, Settings, TableSpecification, ToNode, Token,
};
use prost::Message;
use proto::meta;
use std::time::Duration;
use types::{Durability, Incarnation, Instant, NodeId, Timestamp};

struct Leader {
    cluster: Cluster,
    now: Instant,
}

pub fn play(mut bytes: &[u8]) {
    let now = Instant(1_000_000_000);
    let cluster = Cluster::restore(Settings::default(), 1, Vec::new(), now)
        .expect("nothing contradicts itself");
    let mut leader = Leader { cluster, now };
    for node in 1..=3 {
        leader.joins(node);
    }
    let specification = TableSpecification {
        name: "t".into(),
        partitions: 4,
        replicas: 2,
        durability: Durability::Sync,
        min_replicas: 0,
        password: String::new(),
        rules: types::TableRules::default(),
    };
    leader.asks(Request::CreateTable(specification));
    leader.ticks();
    // Who says it, how long it is, what is said.
    while let [who, length, rest @ ..] = bytes {
        let (message, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = behind;
        leader.hears(*who, message);
    }
}

impl Leader {
    fn hears(&mut self, who: u8, message: &[u8]) {
        let node = NodeId(u64::from(who % 3) + 1);
        match who / 3 % 8 {
            0 => self.ticks(),
            1 => {
                self.takes(Event::NodeLost { node });
                self.joins(node.0);
            }
            2 => {
                if let Ok(wire) = meta::CreateTableRequest::decode(message)
                    && let Ok(specification) = meta_convert::specification(wire, [0; 16])
                {
                    self.asks(Request::CreateTable(specification));
                }
            }
            3 => {
                if let Ok(meta::TableName { name }) = meta::TableName::decode(message) {
                    let wall = Timestamp(7);
                    self.asks(Request::DropTable {
                        name: name.clone(),
                        wall,
                    });
                    self.asks(Request::RecallTable { name });
                }
            }
            4 => {
                if let Ok(hello) = meta::Hello::decode(message)
                    && let Ok(address) = meta_convert::node_address(hello.address)
                {
                    let incarnation = Incarnation(hello.incarnation);
                    self.takes(Event::NodeJoined {
                        address,
                        incarnation,
                    });
                }
            }
            _ => {
                if let Ok(wire) = meta::FromNode::decode(message)
                    && let Ok(event) = meta_convert::event(node, wire)
                {
                    self.takes(event);
                }
            }
        }
    }

    fn joins(&mut self, node: u64) {
        let address = NodeAddress {
            node: NodeId(node),
            name: format!("n{node}"),
            grpc: String::new(),
            redis: String::new(),
            zone: String::new(),
        };
        let incarnation = Incarnation(self.now.0);
        self.takes(Event::NodeJoined {
            address,
            incarnation,
        });
        let report = Event::Reported {
            node: NodeId(node),
            replicas: Vec::new(),
            complete: true,
        };
        self.takes(report);
    }

    fn asks(&mut self, request: Request) {
        self.takes(Event::Asked {
            token: Token(1),
            request,
        });
    }

    fn ticks(&mut self) {
        self.now = self.now + Duration::from_secs(2);
        self.takes(Event::Tick {
            wall: Timestamp(self.now.0 / 1_000_000),
        });
    }

    /// The store keeps everything at once, nodes open what they are asked to.
    fn takes(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.now = self.now + Duration::from_millis(1);
            self.cluster.step(self.now, event, &mut actions);
            for action in actions {
                match action {
                    Action::Store { batch, .. } => events.push(Event::Stored { batch }),
                    Action::ToNode { node, message } => {
                        let wire = meta_convert::to_node(message.clone());
                        assert!(wire.message.is_some());
                        if let ToNode::Open(partition) = message {
                            events.push(Event::Opened { node, partition });
                        }
                    }
                    Action::Disconnect { .. }
                    | Action::Answer { .. }
                    | Action::RoutesChanged { .. }
                    | Action::RoutesEnded { .. }
                    | Action::NodeMoved(_)
                    | Action::Report(_) => {}
                }
            }
        }
    }
}
