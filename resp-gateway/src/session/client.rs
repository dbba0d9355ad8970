//! CLIENT: what clients say of themselves on connecting, and what operators ask of connections.

use super::{Own, Replies, Session, help, integer, shown, syntax_error, unknown_subcommand};
use crate::backend::Backend;
use crate::clients::Client;
use crate::server::Gateway;
use commands::Reply;
use commands::table::wrong_number_of_arguments;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Instant;

/// Of a connection's name, and of its library's name and version.
const LONGEST_NAME: usize = 1024;

const HELP: [&str; 22] = [
    "GETNAME",
    "    Return the name of the current connection.",
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port> | ID <client-id> | ADDR <ip:port> | LADDR <ip:port> | SKIPME (YES|NO)",
    "    Kill connections.",
    "LIST [TYPE NORMAL] [ID <client-id> [<client-id> ...]]",
    "    Return information about client connections.",
    "NO-EVICT (ON|OFF), NO-TOUCH (ON|OFF)",
    "    Accepted; nothing is evicted, and reads leave no trace.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO (LIB-NAME|LIB-VER) <text>",
    "    Tell the library and its version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "HELP",
    "    Print this help.",
];

/// `CLIENT subcommand ...`. `first`: no command before it is still to be answered.
pub(super) fn client<B: Backend>(
    session: &mut Session<B>,
    gateway: &Gateway<B>,
    client: &Client,
    first: bool,
    args: &[&[u8]],
) -> Own {
    let name = args[1].to_ascii_lowercase();
    let reply = match (&name[..], &args[2..]) {
        (b"id", []) => Reply::Integer(client.id as i64),
        (b"info", []) => text(client.describe(Instant::now()) + "\n"),
        (b"list", options) => list(gateway, options),
        (b"getname", []) => match &*client.name.borrow() {
            name if name.is_empty() => Reply::Nil,
            name => Reply::bulk(name.as_bytes()),
        },
        (b"setname", [name]) => match valid_name(name) {
            Ok(name) => {
                *client.name.borrow_mut() = name;
                Reply::Ok
            }
            Err(reply) => reply,
        },
        (b"setinfo", [attribute, value]) => set_information(client, attribute, value),
        (b"no-evict" | b"no-touch", [switch]) => match &switch.to_ascii_lowercase()[..] {
            b"on" | b"off" => Reply::Ok,
            _ => syntax_error(),
        },
        (b"reply", [mode]) => return reply_mode(session, first, mode),
        (b"kill", options) if !options.is_empty() => {
            return kill(gateway, client, options);
        }
        (b"tracking", [switch]) if switch.eq_ignore_ascii_case(b"off") => Reply::Ok,
        (b"tracking", [_, ..]) => Reply::error("ERR client side caching is not supported"),
        (b"getredir", []) => Reply::Integer(-1),
        (b"help", []) => help("CLIENT", &HELP),
        (
            b"id" | b"info" | b"getname" | b"setname" | b"setinfo" | b"no-evict" | b"no-touch"
            | b"reply" | b"kill" | b"tracking" | b"getredir" | b"help",
            _,
        ) => wrong_number_of_arguments(&format!("client|{}", shown(&name))),
        _ => unknown_subcommand("CLIENT", args[1]),
    };
    Own::Reply(reply)
}

fn text(text: String) -> Reply {
    Reply::Text(text.into())
}

fn list<B: Backend>(gateway: &Gateway<B>, options: &[&[u8]]) -> Reply {
    let mut ids = None;
    match options {
        [] => {}
        [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => {
            match &kind.to_ascii_lowercase()[..] {
                b"normal" => {}
                b"master" | b"replica" | b"slave" | b"pubsub" => ids = Some(Vec::new()),
                _ => {
                    return Reply::error(format!("ERR Unknown client type '{}'", shown(kind)));
                }
            }
        }
        [option, wanted @ ..] if option.eq_ignore_ascii_case(b"ID") && !wanted.is_empty() => {
            match wanted.iter().map(|id| integer(id)).collect() {
                Some(wanted) => ids = Some(wanted),
                None => return Reply::error("ERR Invalid client ID"),
            }
        }
        _ => return syntax_error(),
    }
    let now = Instant::now();
    let mut lines = String::new();
    for client in gateway.clients.all() {
        if ids
            .as_ref()
            .is_none_or(|ids: &Vec<i64>| ids.contains(&(client.id as i64)))
        {
            let _ = writeln!(lines, "{}", client.describe(now));
        }
    }
    text(lines)
}

/// A name that may stand in CLIENT LIST.
pub(super) fn valid_name(name: &[u8]) -> Result<String, Reply> {
    printable(name).ok_or_else(|| {
        Reply::error("ERR Client names cannot contain spaces, newlines or special characters.")
    })
}

fn printable(text: &[u8]) -> Option<String> {
    let fits = text.len() <= LONGEST_NAME && text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

fn set_information(client: &Client, attribute: &[u8], value: &[u8]) -> Reply {
    let attribute = attribute.to_ascii_lowercase();
    let (library, version) = &mut *client.made_with.borrow_mut();
    let field = match &attribute[..] {
        b"lib-name" => library,
        b"lib-ver" => version,
        other => {
            return Reply::error(format!("ERR Unrecognized option '{}'", shown(other)));
        }
    };
    match printable(value) {
        Some(value) => {
            *field = value;
            Reply::Ok
        }
        None => Reply::error(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            shown(&attribute)
        )),
    }
}

fn reply_mode<B: Backend>(session: &mut Session<B>, first: bool, mode: &[u8]) -> Own {
    if !first {
        return Own::Wait;
    }
    match &mode.to_ascii_lowercase()[..] {
        b"on" => {
            session.replies = Replies::On;
            Own::Reply(Reply::Ok)
        }
        b"off" => {
            session.replies = Replies::Off;
            Own::Silent
        }
        b"skip" => {
            if session.replies == Replies::On {
                session.replies = Replies::Skip;
            }
            Own::Silent
        }
        _ => Own::Reply(syntax_error()),
    }
}

/// Whom to kill.
#[derive(Default)]
struct Victims<'a> {
    id: Option<i64>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    also_me: bool,
}

impl Victims<'_> {
    fn include(&self, client: &Client, me: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id as i64)
            && self
                .peer
                .is_none_or(|peer| peer == client.peer.to_string().as_bytes())
            && self
                .local
                .is_none_or(|local| local == client.local.to_string().as_bytes())
            && (self.also_me || client.id != me.id)
    }
}

fn kill<B: Backend>(gateway: &Gateway<B>, me: &Client, options: &[&[u8]]) -> Own {
    let mut victims = Victims::default();
    let by_address = if let [address] = options {
        victims.peer = Some(address);
        victims.also_me = true;
        true
    } else {
        for option in options.chunks(2) {
            let [option, value] = *option else {
                return Own::Reply(syntax_error());
            };
            match &option.to_ascii_lowercase()[..] {
                b"id" => match integer(value).filter(|&id| id > 0) {
                    Some(id) => victims.id = Some(id),
                    None => {
                        return Own::Reply(Reply::error("ERR client-id should be greater than 0"));
                    }
                },
                b"addr" => victims.peer = Some(value),
                b"laddr" => victims.local = Some(value),
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => victims.also_me = false,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => victims.also_me = true,
                _ => return Own::Reply(syntax_error()),
            }
        }
        false
    };
    let killed: Vec<Rc<Client>> = gateway
        .clients
        .all()
        .into_iter()
        .filter(|client| victims.include(client, me))
        .collect();
    let mut last = false;
    for client in &killed {
        if client.id == me.id {
            last = true;
        } else {
            client.outbox.kill();
        }
    }
    let reply = match (by_address, killed.len()) {
        (true, 0) => Reply::error("ERR No such client"),
        (true, _) => Reply::Ok,
        (false, count) => Reply::Integer(count as i64),
    };
    if last {
        Own::Last(reply)
    } else {
        Own::Reply(reply)
    }
}
