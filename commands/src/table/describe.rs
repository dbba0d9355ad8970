//! What COMMAND tells of a command, so that clients find its keys.

use super::{Category, CommandSpec, Flags, Gather, Group};
use crate::reply::Reply;

impl CommandSpec {
    /// The command's entry in the reply of COMMAND and COMMAND INFO.
    pub fn describe(&self) -> Reply {
        self.describe_as(self.name)
    }

    fn describe_as(&self, name: &str) -> Reply {
        let subcommands = self
            .subcommands
            .iter()
            .map(|sub| sub.describe_as(&format!("{name}|{}", sub.name)))
            .collect();
        Reply::Array(vec![
            Reply::bulk(name.as_bytes()),
            Reply::Integer(self.arity.into()),
            Reply::Set(self.flags.names().map(Reply::Simple).collect()),
            Reply::Integer(self.first_key.into()),
            Reply::Integer(self.last_key.into()),
            Reply::Integer(self.step.into()),
            Reply::Set(self.categories().into_iter().map(Reply::Simple).collect()),
            Reply::Array(
                self.tips()
                    .iter()
                    .map(|tip| Reply::bulk(tip.as_bytes()))
                    .collect(),
            ),
            Reply::Array(self.key_specification().into_iter().collect()),
            Reply::Array(subcommands),
        ])
    }

    /// In Redis' order.
    fn categories(&self) -> Vec<&'static str> {
        let is = |flag| self.flags.contains(flag);
        let container = !self.subcommands.is_empty();
        let dangerous = matches!(self.name, "keys" | "flushdb" | "flushall" | "info");
        [
            (
                self.category == Category::Keyspace && !container,
                "@keyspace",
            ),
            (is(Flags::READONLY), "@read"),
            (is(Flags::WRITE), "@write"),
            (self.category == Category::Hashes, "@hash"),
            (self.category == Category::Strings, "@string"),
            (is(Flags::FAST), "@fast"),
            (!is(Flags::FAST), "@slow"),
            (dangerous, "@dangerous"),
            (self.category == Category::Connection, "@connection"),
        ]
        .into_iter()
        .filter_map(|(applies, name)| applies.then_some(name))
        .collect()
    }

    /// How a client that shards by itself spreads the command and joins the replies.
    fn tips(&self) -> &'static [&'static str] {
        match self.group {
            Group::Session | Group::Keyed => &[],
            Group::Scatter(Gather::Sum) => {
                &["request_policy:multi_shard", "response_policy:agg_sum"]
            }
            Group::Scatter(Gather::AllOk) => &[
                "request_policy:multi_shard",
                "response_policy:all_succeeded",
            ],
            Group::Scatter(_) => &["request_policy:multi_shard"],
            Group::Partitions(Gather::Sum) => {
                &["request_policy:all_shards", "response_policy:agg_sum"]
            }
            Group::Partitions(Gather::AllOk) => {
                &["request_policy:all_shards", "response_policy:all_succeeded"]
            }
            Group::Partitions(Gather::Cursor) => {
                &["nondeterministic_output", "request_policy:special"]
            }
            Group::Partitions(Gather::AnyOne) => {
                &["request_policy:all_shards", "nondeterministic_output"]
            }
            Group::Partitions(_) => &["request_policy:all_shards", "nondeterministic_output_order"],
        }
    }

    fn key_specification(&self) -> Option<Reply> {
        if self.first_key == 0 {
            return None;
        }
        let text = |text: &'static str| Reply::bulk(text.as_bytes());
        let number = |number: i32| Reply::Integer(number.into());
        let access = if self.is_write() { "RW" } else { "RO" };
        let last = if self.last_key < 0 {
            self.last_key
        } else {
            self.last_key - self.first_key
        };
        Some(Reply::Map(vec![
            (text("flags"), Reply::Set(vec![Reply::Simple(access)])),
            (
                text("begin_search"),
                Reply::Map(vec![
                    (text("type"), text("index")),
                    (
                        text("spec"),
                        Reply::Map(vec![(text("index"), number(self.first_key))]),
                    ),
                ]),
            ),
            (
                text("find_keys"),
                Reply::Map(vec![
                    (text("type"), text("range")),
                    (
                        text("spec"),
                        Reply::Map(vec![
                            (text("lastkey"), number(last)),
                            (text("keystep"), number(self.step)),
                            (text("limit"), number(0)),
                        ]),
                    ),
                ]),
            ),
        ]))
    }
}
