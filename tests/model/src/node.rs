//! The three nodes of every model, and what follows from their being alike.
//!
//! No rule mentions a node's number, so states that differ by a renaming of nodes are one state. Each model renames its states so
//! that the nodes stand in an order of their own making ([`renaming`]); where the order leaves a tie, equal states may be visited
//! twice, which costs time and misses nothing.

/// How many nodes there are.
pub const NODES: usize = 3;

/// A node's number.
pub type Node = u8;

/// All nodes.
pub fn nodes() -> impl Iterator<Item = Node> {
    0..NODES as Node
}

/// The name that a node has in a trace.
pub fn name(node: Node) -> char {
    char::from(b'A' + node)
}

/// Where each node goes: `renaming[old]` is its new number.
pub type Renaming = [Node; NODES];

/// The renaming that puts the nodes in the order of `key`.
pub fn renaming<K: Ord>(key: impl Fn(Node) -> K) -> Renaming {
    let mut order: [Node; NODES] = [0, 1, 2];
    order.sort_by_cached_key(|&node| key(node));
    let mut renaming = [0; NODES];
    for (new, &old) in order.iter().enumerate() {
        renaming[usize::from(old)] = new as Node;
    }
    renaming
}

/// What was kept for each node, under its new number.
pub fn renamed<T: Clone>(old: &[T; NODES], renaming: Renaming) -> [T; NODES] {
    let mut new = old.clone();
    for (node, value) in old.iter().enumerate() {
        new[usize::from(renaming[node])] = value.clone();
    }
    new
}

/// A set of nodes, a bit each, under their new numbers.
pub fn renamed_set(old: u8, renaming: Renaming) -> u8 {
    let kept = nodes().filter(|&node| old & 1 << node != 0);
    kept.map(|node| 1 << renaming[usize::from(node)]).sum()
}
