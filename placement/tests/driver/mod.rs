//! Drives a `Cluster` event by event: a clock that tests set, and events short enough to read.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use placement::{
    Action, Answered, BatchId, Cluster, Document, Event, Key, NodeAddress, Refusal, ReplicaReport,
    Request, Settings, Soundness, Table, TableSpecification, ToNode, Token, Write,
};
use std::time::Duration;
use types::{
    Ballot, Configuration, Decree, Durability, Incarnation, Instant, LearnSignature, Member,
    NodeId, PartitionId, TableId, TableRules, Timestamp,
};

pub struct Driver {
    pub cluster: Cluster,
    pub now: Instant,
    pub batch: u64,
}

pub const EPOCH: u64 = 7;

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn wall(n: u64) -> Timestamp {
    Timestamp(n * 1000)
}

pub fn node(n: u64) -> NodeId {
    NodeId(n)
}

pub fn address(n: u64) -> NodeAddress {
    NodeAddress {
        node: node(n),
        name: format!("node-{n}"),
        grpc: format!("host-{n}:1"),
        redis: String::new(),
        zone: String::new(),
    }
}

pub fn p(index: u32) -> PartitionId {
    PartitionId::new(1, index)
}

pub fn configuration(ballot: u64, primary: u64, secondaries: &[u64]) -> Configuration {
    Configuration {
        ballot: Ballot(ballot),
        epoch: 0,
        primary: Member::original(node(primary)),
        secondaries: secondaries
            .iter()
            .map(|&n| Member::original(node(n)))
            .collect(),
    }
}

pub fn table(id: u32, name: &str, partitions: u32, replicas: u32) -> Table {
    Table {
        id: TableId(id),
        name: name.into(),
        partitions,
        replicas,
        durability: Durability::Sync,
        min_replicas: 0,
        password: String::new(),
        rules: TableRules::default(),
        dropped_at: None,
        version: 1,
    }
}

pub fn specification(name: &str, partitions: u32, replicas: u32) -> TableSpecification {
    TableSpecification {
        name: name.into(),
        partitions,
        replicas,
        durability: Durability::Sync,
        min_replicas: 0,
        password: String::new(),
        rules: TableRules::default(),
    }
}

pub fn replica(partition: PartitionId, ballot: u64) -> ReplicaReport {
    ReplicaReport {
        partition,
        ballot: Ballot(ballot),
        epoch: 0,
        prepared: Decree(0),
        last_ballot: Ballot(ballot),
        committed: Decree(0),
        soundness: Soundness::Whole,
        configuration: None,
        signature: LearnSignature::default(),
        bytes: 0,
        learning: false,
        ready: true,
        diverged: false,
    }
}

pub fn to(n: u64, message: ToNode) -> Action {
    Action::ToNode {
        node: node(n),
        message,
    }
}

pub fn open(n: u64, id: PartitionId) -> Action {
    to(n, ToNode::Open(id))
}

pub fn stored(n: u64, id: PartitionId, configuration: Configuration) -> Action {
    to(n, ToNode::Stored(vec![(id, configuration)]))
}

pub fn add_learner(primary: u64, partition: PartitionId, ballot: u64, n: u64) -> Action {
    let message = ToNode::AddLearner {
        partition,
        ballot: Ballot(ballot),
        node: node(n),
    };
    to(primary, message)
}

pub fn delete(n: u64, partition: PartitionId, ballot: u64) -> Action {
    let message = ToNode::Delete {
        partition,
        ballot: Ballot(ballot),
        table_gone: false,
    };
    to(n, message)
}

pub fn delete_of_gone_table(n: u64, partition: PartitionId) -> Action {
    let message = ToNode::Delete {
        partition,
        ballot: Ballot::ZERO,
        table_gone: true,
    };
    to(n, message)
}

pub fn tables_told(n: u64, tables: Vec<Table>) -> Action {
    let message = ToNode::Cluster {
        complete: false,
        nodes: vec![],
        tables,
        gone: vec![],
    };
    to(n, message)
}

pub fn tables_gone(n: u64, gone: &[u32]) -> Action {
    let message = ToNode::Cluster {
        complete: false,
        nodes: vec![],
        tables: vec![],
        gone: gone.iter().copied().map(TableId).collect(),
    };
    to(n, message)
}

pub fn answer(token: u64, answer: Result<Table, Refusal>) -> Action {
    Action::Answer {
        token: Token(token),
        answer: answer.map(Answered::Table),
    }
}

pub fn store(batch: u64, writes: Vec<Write>) -> Action {
    Action::Store {
        batch: BatchId(batch),
        writes,
    }
}

pub fn write(key: Key, expected: u64, document: Document) -> Write {
    Write {
        key,
        expected,
        document: Some(document),
    }
}

pub fn write_page(page: u32, expected: u64, configurations: Vec<Option<Configuration>>) -> Write {
    let key = Key::Page {
        table: TableId(1),
        page,
    };
    write(key, expected, Document::Page(configurations))
}

pub fn routes(index: u32, configuration: Configuration) -> Action {
    Action::RoutesChanged {
        table: TableId(1),
        partitions: vec![(index, configuration)],
    }
}

/// What nodes are told.
pub fn only_to_nodes(actions: Vec<Action>) -> Vec<Action> {
    actions
        .into_iter()
        .filter(|action| matches!(action, Action::ToNode { .. }))
        .collect()
}

impl Driver {
    /// A new cluster, its first write behind it.
    pub fn new() -> Self {
        Self::with(Settings::default())
    }

    pub fn with(settings: Settings) -> Self {
        let now = Instant(1_000_000_000);
        let cluster =
            Cluster::restore(settings, EPOCH, vec![], now).expect("nothing is consistent");
        let mut driver = Self {
            cluster,
            now,
            batch: 0,
        };
        driver.tick_at(0);
        driver.stored();
        driver
    }

    /// Nodes 1 to `n` have joined and reported nothing; all of it is stored.
    pub fn with_nodes(n: u64) -> Self {
        let mut driver = Self::new();
        for n in 1..=n {
            driver.joined(n, &[]);
        }
        driver
    }

    /// A table `t` of `partitions` with `replicas` copies, made on nodes 1 to `nodes`; everything is stored and opened.
    pub fn with_table(nodes: u64, partitions: u32, replicas: u32) -> Self {
        Self::with_specification(nodes, specification("t", partitions, replicas))
    }

    pub fn with_specification(nodes: u64, specification: TableSpecification) -> Self {
        let mut driver = Self::with_nodes(nodes);
        driver.create(1, specification);
        let mut actions = driver.stored();
        while !actions.is_empty() {
            let mut next = driver.open_all(&actions);
            if actions
                .iter()
                .chain(&next)
                .any(|action| matches!(action, Action::Store { .. }))
            {
                next.append(&mut driver.stored());
            }
            actions = next;
        }
        driver
    }

    /// Nodes answer the opens among `actions`.
    pub fn open_all(&mut self, actions: &[Action]) -> Vec<Action> {
        let mut answers = Vec::new();
        for action in actions {
            if let Action::ToNode {
                node,
                message: ToNode::Open(partition),
            } = action
            {
                answers.append(&mut self.step(Event::Opened {
                    node: *node,
                    partition: *partition,
                }));
            }
        }
        answers
    }

    pub fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.cluster.step(self.now, event, &mut actions);
        for action in &actions {
            if let Action::Store { batch, .. } = action {
                self.batch = batch.0;
            }
        }
        actions
    }

    /// The batch sent last is durable.
    pub fn stored(&mut self) -> Vec<Action> {
        self.step(Event::Stored {
            batch: BatchId(self.batch),
        })
    }

    pub fn after(&mut self, span: Duration) -> &mut Self {
        self.now = self.now + span;
        self
    }

    /// A tick; the system clock stands at so many seconds.
    pub fn tick_at(&mut self, second: u64) -> Vec<Action> {
        self.step(Event::Tick { wall: wall(second) })
    }

    pub fn tick(&mut self) -> Vec<Action> {
        self.tick_at(0)
    }

    /// Nodes live and say so, for so long; then a tick.
    pub fn pass(&mut self, span: Duration, nodes: std::ops::RangeInclusive<u64>) -> Vec<Action> {
        self.after(span);
        for n in nodes {
            self.beat(n);
        }
        self.tick()
    }

    pub fn beat(&mut self, n: u64) {
        assert_eq!(
            self.step(Event::Beat {
                node: node(n),
                disk_bytes: 0
            }),
            []
        );
    }

    pub fn join(&mut self, n: u64, incarnation: u64) -> Vec<Action> {
        self.step(Event::NodeJoined {
            address: address(n),
            incarnation: Incarnation(incarnation),
        })
    }

    /// A node joins, reports all it has, and whatever is to be stored by that is.
    pub fn joined(&mut self, n: u64, replicas: &[ReplicaReport]) -> Vec<Action> {
        self.join(n, 1);
        let actions = self.report_all(n, replicas);
        self.stored();
        actions
    }

    pub fn report_all(&mut self, n: u64, replicas: &[ReplicaReport]) -> Vec<Action> {
        self.step(Event::Reported {
            node: node(n),
            replicas: replicas.to_vec(),
            complete: true,
        })
    }

    pub fn report(&mut self, n: u64, replica: ReplicaReport) -> Vec<Action> {
        self.step(Event::Reported {
            node: node(n),
            replicas: vec![replica],
            complete: false,
        })
    }

    pub fn lost(&mut self, n: u64) -> Vec<Action> {
        self.step(Event::NodeLost { node: node(n) })
    }

    pub fn opened(&mut self, n: u64, id: PartitionId) -> Vec<Action> {
        self.step(Event::Opened {
            node: node(n),
            partition: id,
        })
    }

    pub fn propose(
        &mut self,
        n: u64,
        id: PartitionId,
        configuration: Configuration,
    ) -> Vec<Action> {
        self.step(Event::Proposed {
            node: node(n),
            proposals: vec![(id, configuration)],
        })
    }

    /// A proposal, and the write of it.
    pub fn change(&mut self, n: u64, id: PartitionId, configuration: Configuration) -> Vec<Action> {
        self.propose(n, id, configuration);
        self.stored()
    }

    pub fn ask(&mut self, token: u64, request: Request) -> Vec<Action> {
        self.step(Event::Asked {
            token: Token(token),
            request,
        })
    }

    pub fn create(&mut self, token: u64, specification: TableSpecification) -> Vec<Action> {
        self.ask(token, Request::CreateTable(specification))
    }

    pub fn drop_at(&mut self, token: u64, name: &str, second: u64) -> Vec<Action> {
        let request = Request::DropTable {
            name: name.into(),
            wall: wall(second),
        };
        self.ask(token, request)
    }

    pub fn recall(&mut self, token: u64, name: &str) -> Vec<Action> {
        self.ask(token, Request::RecallTable { name: name.into() })
    }
}
