//! Which znode a document is.

use placement::Key;
use types::{NodeId, TableId};

pub(super) const LEADER: &str = "/leader";
pub(super) const TERM: &str = "/term";
pub(super) const ROOT: &str = "/root";
pub(super) const NODES: &str = "/nodes";
pub(super) const TABLES: &str = "/tables";
pub(super) const PAGES: &str = "/pages";

/// What others are created under.
pub(super) const DIRECTORIES: [&str; 4] = [LEADER, NODES, TABLES, PAGES];

/// The path of a document.
pub(super) fn path(key: Key) -> String {
    match key {
        Key::Root => ROOT.into(),
        Key::Node(node) => format!("{NODES}/{:016x}", node.0),
        Key::Table(table) => format!("{TABLES}/{}", table.0),
        Key::Page { table, page } => format!("{PAGES}/{}-{page}", table.0),
    }
}

/// The document that is a child of a directory; `None` if it is none of ours.
pub(super) fn child(directory: &str, name: &str) -> Option<Key> {
    let key = match directory {
        NODES => Key::Node(NodeId(u64::from_str_radix(name, 16).ok()?)),
        TABLES => Key::Table(TableId(name.parse().ok()?)),
        PAGES => {
            let (table, page) = name.split_once('-')?;
            Key::Page {
                table: TableId(table.parse().ok()?),
                page: page.parse().ok()?,
            }
        }
        _ => return None,
    };
    // Not "01" for "1": a document has one path.
    (path(key).strip_prefix(directory)?.strip_prefix('/')? == name).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_its_path() {
        for key in [
            Key::Node(NodeId(0)),
            Key::Node(NodeId(u64::MAX)),
            Key::Table(TableId(7)),
            Key::Page {
                table: TableId(7),
                page: 156_249,
            },
        ] {
            let path = path(key);
            let (directory, name) = path.rsplit_once('/').unwrap();
            assert_eq!(child(directory, name), Some(key), "{path}");
        }
    }

    #[test]
    fn what_is_none_of_ours_is_not_taken_for_a_document() {
        for (directory, name) in [
            (TABLES, "07"),
            (TABLES, "x"),
            (PAGES, "7"),
            (PAGES, "7-+1"),
            (NODES, "1"),
            (LEADER, "7"),
        ] {
            assert_eq!(child(directory, name), None, "{directory}/{name}");
        }
    }
}
