//! A replica server as far as a meta server sees one: it joins, opens what it is asked to, remembers what it is told.

#![allow(dead_code, unreachable_pub)] // each test program uses its part

use meta_server::{MetaConfig, MetaServer, Running};
use proto::meta::admin_client::AdminClient;
use proto::meta::nodes_client::NodesClient;
use proto::meta::routes_client::RoutesClient;
use proto::meta::{self, from_node, to_node};
use proto::{PROTOCOL, common};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// Starts a meta server on a port of the system's choice.
pub async fn start(directory: &Path) -> Running {
    start_with(MetaConfig {
        data_dir: directory.into(),
        ..MetaConfig::default()
    })
    .await
}

pub async fn start_with(config: MetaConfig) -> Running {
    let config = MetaConfig {
        listen: "127.0.0.1:0".into(),
        http: "127.0.0.1:0".into(),
        ..config
    };
    MetaServer::start(config)
        .await
        .expect("the meta server starts")
}

pub async fn channel(server: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", server.address()))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

pub async fn admin(server: &Running) -> AdminClient<Channel> {
    AdminClient::new(channel(server).await)
}

pub async fn routes(server: &Running) -> RoutesClient<Channel> {
    RoutesClient::new(channel(server).await)
}

pub fn table(name: &str, partitions: u32, replicas: u32) -> meta::CreateTableRequest {
    meta::CreateTableRequest {
        name: name.into(),
        partitions,
        replicas,
        ..meta::CreateTableRequest::default()
    }
}

pub fn query(table: &str) -> meta::QueryRequest {
    meta::QueryRequest {
        protocol: PROTOCOL,
        table: table.into(),
    }
}

pub fn hello(node: u64) -> meta::Hello {
    meta::Hello {
        protocol: PROTOCOL,
        address: Some(common::NodeAddress {
            node,
            name: format!("node-{node}"),
            grpc: format!("host-{node}:1"),
            redis: String::new(),
            zone: String::new(),
        }),
        incarnation: 1,
        cluster_secret: String::new(),
    }
}

pub fn from_node(message: from_node::Message) -> meta::FromNode {
    meta::FromNode {
        message: Some(message),
    }
}

/// Opens a node's stream with this first message.
pub async fn join(
    server: &Running,
    first: meta::FromNode,
) -> Result<(mpsc::Sender<meta::FromNode>, tonic::Streaming<meta::ToNode>), Status> {
    let (say, said) = mpsc::channel(64);
    say.send(first).await.unwrap();
    let mut client = NodesClient::new(channel(server).await);
    let stream = client.join(ReceiverStream::new(said)).await?;
    Ok((say, stream.into_inner()))
}

/// What a node has on disk: the configuration it knows of each replica.
pub type Replicas = BTreeMap<(u32, u32), Option<common::Configuration>>;

/// A node that behaves.
pub struct FakeNode {
    pub node: u64,
    pub replicas: watch::Receiver<Replicas>,
    say: mpsc::Sender<meta::FromNode>,
    task: JoinHandle<()>,
}

impl FakeNode {
    /// Joins with an empty disk.
    pub async fn new(server: &Running, node: u64) -> Self {
        Self::with(server, node, Replicas::new()).await
    }

    /// Joins with what it had.
    pub async fn with(server: &Running, node: u64, had: Replicas) -> Self {
        let (say, mut heard) = join(server, from_node(from_node::Message::Hello(hello(node))))
            .await
            .unwrap();
        let replicas = had
            .iter()
            .map(|(id, configuration)| report(*id, configuration.as_ref()))
            .collect();
        let report = meta::Report {
            replicas,
            complete: true,
        };
        say.send(from_node(from_node::Message::Report(report)))
            .await
            .unwrap();
        let (known, replicas) = watch::channel(had);
        let answers = say.clone();
        let task = tokio::spawn(async move {
            while let Ok(Some(message)) = heard.message().await {
                for answer in obey(message, &known) {
                    if answers.send(from_node(answer)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self {
            node,
            replicas,
            say,
            task,
        }
    }

    pub async fn propose(&self, id: (u32, u32), configuration: common::Configuration) {
        let proposal = meta::Proposal {
            partition: Some(common::PartitionId {
                table: id.0,
                index: id.1,
            }),
            configuration: Some(configuration),
        };
        let proposals = meta::Proposals {
            proposals: vec![proposal],
        };
        self.say
            .send(from_node(from_node::Message::Proposals(proposals)))
            .await
            .unwrap();
    }

    /// Waits until the node knows what is wanted.
    pub async fn until(&mut self, wanted: impl FnMut(&Replicas) -> bool) {
        self.replicas.wait_for(wanted).await.unwrap();
    }

    /// Dies; its disk is left.
    pub fn kill(self) -> Replicas {
        self.task.abort();
        self.replicas.borrow().clone()
    }
}

fn report(id: (u32, u32), configuration: Option<&common::Configuration>) -> meta::ReplicaReport {
    meta::ReplicaReport {
        partition: Some(common::PartitionId {
            table: id.0,
            index: id.1,
        }),
        ballot: configuration.map_or(0, |configuration| configuration.ballot),
        ready: true,
        ..meta::ReplicaReport::default()
    }
}

fn obey(message: meta::ToNode, known: &watch::Sender<Replicas>) -> Vec<from_node::Message> {
    let key =
        |id: Option<common::PartitionId>| id.map(|id| (id.table, id.index)).expect("a partition");
    match message.message.expect("a message") {
        to_node::Message::Welcome(_)
        | to_node::Message::Cluster(_)
        | to_node::Message::AddLearner(_)
        | to_node::Message::RemoveSecondary(_)
        | to_node::Message::HandOver(_) => vec![],
        to_node::Message::Open(meta::Open { partition }) => {
            known.send_modify(|replicas| {
                replicas.entry(key(partition)).or_default();
            });
            vec![from_node::Message::Opened(meta::Opened { partition })]
        }
        to_node::Message::Stored(stored) => {
            known.send_modify(|replicas| {
                for told in stored.configurations {
                    replicas.insert(key(told.partition), told.configuration);
                }
            });
            vec![]
        }
        to_node::Message::Delete(meta::Delete { partition, .. }) => {
            known.send_modify(|replicas| {
                replicas.remove(&key(partition));
            });
            vec![from_node::Message::Deleted(meta::Deleted { partition })]
        }
    }
}

pub async fn three_nodes(server: &Running) -> Vec<FakeNode> {
    let mut nodes = vec![];
    for node in 1..=3 {
        nodes.push(FakeNode::new(server, node).await);
    }
    nodes
}
