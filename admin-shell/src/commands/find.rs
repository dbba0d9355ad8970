//! Replica servers by the names that people have for them.

use super::Failure;
use crate::admin::Admin;
use crate::answer::node_id;
use proto::meta::Node;

/// All replica servers ever seen.
pub(crate) struct Servers(Vec<Node>);

impl Servers {
    pub(super) async fn ask(admin: &mut Admin) -> Result<Self, Failure> {
        Ok(Self(admin.list_nodes().await?))
    }

    /// The id of the one of that name, or with that id. A server that came back with an empty disk has the name of the one it was: the one
    /// that lives is meant.
    pub(super) fn id(&self, text: &str) -> Result<u64, Failure> {
        self.id_preferring(text, |node| node.alive)
    }

    /// The same where one is meant that does not live any more.
    pub(super) fn id_of_away(&self, text: &str) -> Result<u64, Failure> {
        self.id_preferring(text, |node| !node.alive)
    }

    fn id_preferring(&self, text: &str, likely: fn(&Node) -> bool) -> Result<u64, Failure> {
        let called = |node: &&Node| {
            node.address
                .as_ref()
                .is_some_and(|address| address.name == text || node_id(address.node) == text)
        };
        let id = |node: &Node| node.address.as_ref().map_or(0, |address| address.node);
        let all: Vec<&Node> = self.0.iter().filter(called).collect();
        let likely: Vec<&Node> = all.iter().copied().filter(|node| likely(node)).collect();
        match (&all[..], &likely[..]) {
            ([one], _) | (_, [one]) => Ok(id(one)),
            ([], _) => Err(Failure::Other(format!("there is no server '{text}'"))),
            _ => Err(Failure::Other(format!(
                "more than one server is called '{text}': say its id, as 'nodes' shows it"
            ))),
        }
    }

    /// The same as [`Servers::id`], with all that is known of it.
    pub(super) fn node(&self, text: &str) -> Result<&Node, Failure> {
        let id = self.id(text)?;
        self.with_id(id)
            .ok_or_else(|| Failure::Other(format!("there is no server '{text}'")))
    }

    /// What people call it.
    pub(super) fn name(&self, id: u64) -> String {
        self.with_id(id).map_or_else(|| node_id(id), Self::name_of)
    }

    /// What people call this one.
    pub(crate) fn name_of(node: &Node) -> String {
        let address = node.address.clone().unwrap_or_default();
        if address.name.is_empty() {
            node_id(address.node)
        } else {
            address.name
        }
    }

    fn with_id(&self, id: u64) -> Option<&Node> {
        let of = |node: &&Node| {
            node.address
                .as_ref()
                .is_some_and(|address| address.node == id)
        };
        self.0.iter().find(of)
    }

    /// How many replicas it has.
    pub(super) fn replicas(&self, id: u64) -> u32 {
        self.with_id(id)
            .map_or(0, |node| node.primaries + node.secondaries)
    }
}

/// Reads a node's id as it is written everywhere.
pub(super) fn parse_id(text: &str) -> Result<u64, Failure> {
    u64::from_str_radix(text, 16).map_err(|_| {
        Failure::Other(format!(
            "'{text}' is no id of a node, which is 16 hexadecimal digits"
        ))
    })
}
