//! Other replica servers: `outgoing` (what this node says to each), `incoming` (what they say), `codec` (the messages' bytes), `beacons`
//! (leases, on a thread of their own), `clocks` (what beacons tell of other nodes' clocks), `checkpoint`, `kept`, `arrival` and `partial` (whole copies, on
//! connections of their own).

mod arrival;
pub(crate) mod beacons;
pub(crate) mod checkpoint;
pub(crate) mod clocks;
pub(crate) mod codec;
pub(crate) mod incoming;
pub(crate) mod kept;
mod outgoing;
mod partial;

pub(crate) use arrival::Arrivals;
pub(crate) use outgoing::{Peers, channel};

use proto::peer::Greeting;
use tonic::Status;
use types::{Incarnation, NodeId};

/// How this node introduces itself.
#[derive(Clone)]
pub(crate) struct Introduction {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Where beacons are taken.
    pub(crate) beacons: String,
    pub(crate) cluster_secret: String,
}

impl Introduction {
    pub(crate) fn greeting(&self, receiver: NodeId) -> Greeting {
        Greeting {
            protocol: proto::PROTOCOL,
            node: self.node.0,
            incarnation: self.incarnation.0,
            beacons: self.beacons.clone(),
            cluster_secret: self.cluster_secret.clone(),
            receiver: receiver.0,
        }
    }

    /// Refuses what was sent to another node, whose address this one has now: its answer would pass for the other's, its grants for
    /// leases that the other never gave.
    pub(crate) fn meant(&self, receiver: u64) -> Result<(), Status> {
        if receiver == self.node.0 {
            return Ok(());
        }
        let (receiver, node) = (NodeId(receiver), self.node);
        Err(Status::not_found(format!(
            "node {receiver} is not here, this is node {node}"
        )))
    }

    /// Who greets, if it is one of the cluster.
    pub(crate) fn admit(&self, greeting: Option<Greeting>) -> Result<Greeting, Status> {
        let greeting = greeting
            .ok_or_else(|| Status::invalid_argument("the stream does not begin with a greeting"))?;
        if greeting.protocol != proto::PROTOCOL {
            let (theirs, ours) = (greeting.protocol, proto::PROTOCOL);
            let text = format!("this server speaks protocol version {ours}, not {theirs}");
            return Err(Status::failed_precondition(text));
        }
        let (theirs, ours) = (&greeting.cluster_secret, &self.cluster_secret);
        if !proto::secret::same(theirs.as_bytes(), ours.as_bytes()) {
            return Err(Status::unauthenticated("another cluster's secret"));
        }
        self.meant(greeting.receiver)?;
        if greeting.node == self.node.0 {
            return Err(Status::invalid_argument("a node does not talk to itself"));
        }
        Ok(greeting)
    }
}
