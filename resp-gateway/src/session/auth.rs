//! AUTH and HELLO: choosing a table, unlocking it, and what is spoken from then on.
//!
//! A user is a table: `AUTH table password`, `HELLO 3 AUTH table password`; `AUTH password` is for the default table. Opening may
//! take a while; until it is done the connection starts nothing that needs to know.

use super::{Own, REDIS_VERSION, Session, Table, integer, shown, syntax_error};
use crate::backend::{Backend, OpenTableError};
use crate::clients::Client;
use crate::codec::Protocol;
use crate::server::{Gateway, Mode};
use bytes::Bytes;
use commands::Reply;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A table on its way.
pub(super) struct Opening<B: Backend> {
    future: Pin<Box<dyn Future<Output = Result<B::Table, Failure>>>>,
    purpose: Purpose,
    /// A command waits for it.
    pub(super) wanted: bool,
}

enum Purpose {
    /// The default table, for a connection that has said nothing.
    Default,
    /// A client's AUTH or HELLO, which is to be answered.
    Asked {
        sequence: u64,
        name: Bytes,
        hello: Option<Hello>,
    },
}

/// What HELLO asks for besides AUTH.
struct Hello {
    protocol: Option<Protocol>,
    name: Option<String>,
    mode: Mode,
}

enum Failure {
    Table(OpenTableError),
    /// A password for the default table, which has none.
    NoPasswordSet,
}

impl<B: Backend> Opening<B> {
    pub(super) fn of_default(gateway: &Rc<Gateway<B>>) -> Self {
        let gateway = Rc::clone(gateway);
        Self {
            future: Box::pin(async move {
                let name = gateway.options.default_table.as_bytes();
                let opened = gateway.backend.open_table(name, None).await;
                opened.map_err(Failure::Table)
            }),
            purpose: Purpose::Default,
            wanted: false,
        }
    }

    fn asked(
        gateway: &Rc<Gateway<B>>,
        sequence: u64,
        credentials: &Credentials<'_>,
        hello: Option<Hello>,
    ) -> Self {
        let gateway = Rc::clone(gateway);
        let only_password = credentials.table.is_none();
        let name = credentials.table.map_or_else(
            || gateway.options.default_table.clone().into(),
            Bytes::copy_from_slice,
        );
        let password = Bytes::copy_from_slice(credentials.password);
        let table = name.clone();
        Self {
            future: Box::pin(async move {
                if only_password && gateway.backend.open_table(&table, None).await.is_ok() {
                    return Err(Failure::NoPasswordSet);
                }
                let opened = gateway.backend.open_table(&table, Some(&password)).await;
                opened.map_err(Failure::Table)
            }),
            purpose: Purpose::Asked {
                sequence,
                name,
                hello,
            },
            wanted: true,
        }
    }
}

/// See [`Session::poll_opening`].
pub(super) fn poll<B: Backend>(
    session: &mut Session<B>,
    client: &Client,
    context: &mut Context<'_>,
) -> bool {
    let Some(opening) = &mut session.opening else {
        return true;
    };
    let Poll::Ready(result) = opening.future.as_mut().poll(context) else {
        return !opening.wanted;
    };
    let wanted = opening.wanted;
    let purpose = std::mem::replace(&mut opening.purpose, Purpose::Default);
    session.opening = None;
    match purpose {
        Purpose::Default => {
            session.table = match result {
                Ok(table) => Table::Open(table),
                Err(Failure::Table(
                    OpenTableError::PasswordRequired | OpenTableError::WrongPassword,
                )) => Table::Locked,
                Err(Failure::Table(error)) if wanted => Table::Failed(error),
                // Nobody has asked yet: who does gets a fresh answer.
                Err(_) => Table::Unknown,
            };
        }
        Purpose::Asked {
            sequence,
            name,
            hello,
        } => {
            let reply = match result {
                Ok(table) => {
                    session.table = Table::Open(table);
                    *client.table.borrow_mut() = String::from_utf8_lossy(&name).into_owned();
                    hello.map_or(Reply::Ok, |hello| hello.accept(client))
                }
                Err(failure) => refused(&name, &failure),
            };
            session.answer(client, sequence, reply);
        }
    }
    true
}

struct Credentials<'a> {
    table: Option<&'a [u8]>,
    password: &'a [u8],
}

/// `AUTH [table] password`.
pub(super) fn auth<B: Backend>(
    session: &mut Session<B>,
    gateway: &Rc<Gateway<B>>,
    sequence: u64,
    args: &[&[u8]],
) -> Own {
    let credentials = match *args {
        [_, password] => Credentials {
            table: None,
            password,
        },
        [_, table, password] => Credentials {
            table: Some(table),
            password,
        },
        _ => return Own::Reply(syntax_error()),
    };
    session.opening = Some(Opening::asked(gateway, sequence, &credentials, None));
    Own::Opening
}

/// `HELLO [protocol [AUTH table password] [SETNAME name]]`.
pub(super) fn hello<B: Backend>(
    session: &mut Session<B>,
    gateway: &Rc<Gateway<B>>,
    client: &Client,
    sequence: u64,
    args: &[&[u8]],
) -> Own {
    let (credentials, hello) = match parse_hello(args, gateway.options.mode) {
        Ok(parsed) => parsed,
        Err(reply) => return Own::Reply(reply),
    };
    if let Some(credentials) = credentials {
        session.opening = Some(Opening::asked(gateway, sequence, &credentials, Some(hello)));
        return Own::Opening;
    }
    match session.table {
        Table::Open(_) | Table::Failed(_) => Own::Reply(hello.accept(client)),
        Table::Locked => Own::Reply(Reply::error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        )),
        // Whether it is locked must be known first; if it cannot be told, HELLO does no harm.
        Table::Unknown => {
            if session.ask_for_table(gateway) {
                Own::Wait
            } else {
                Own::Reply(hello.accept(client))
            }
        }
    }
}

fn parse_hello<'a>(
    args: &[&'a [u8]],
    mode: Mode,
) -> Result<(Option<Credentials<'a>>, Hello), Reply> {
    let mut hello = Hello {
        protocol: None,
        name: None,
        mode,
    };
    let mut credentials = None;
    let Some(version) = args.get(1) else {
        return Ok((credentials, hello));
    };
    hello.protocol = Some(match integer(version) {
        None => {
            return Err(Reply::error(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
    });
    let mut rest = &args[2..];
    loop {
        rest = match *rest {
            [] => return Ok((credentials, hello)),
            [option, table, password, ref rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                credentials = Some(Credentials {
                    table: Some(table),
                    password,
                });
                rest
            }
            [option, name, ref rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                hello.name = Some(super::client::valid_name(name)?);
                rest
            }
            [option, ..] => {
                return Err(Reply::error(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    shown(option)
                )));
            }
        };
    }
}

impl Hello {
    fn accept(self, client: &Client) -> Reply {
        if let Some(protocol) = self.protocol {
            client.outbox.speak(protocol);
        }
        if let Some(name) = self.name {
            *client.name.borrow_mut() = name;
        }
        let mode = match self.mode {
            Mode::Forward => "standalone",
            Mode::Cluster => "cluster",
        };
        let protocol = match client.outbox.protocol() {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let text = |text: &str| Reply::bulk(text.as_bytes());
        Reply::Map(vec![
            (text("server"), text("redis")),
            (text("version"), text(REDIS_VERSION)),
            (text("proto"), Reply::Integer(protocol)),
            (text("id"), Reply::Integer(client.id as i64)),
            (text("mode"), text(mode)),
            (text("role"), text("master")),
            (text("modules"), Reply::Array(Vec::new())),
        ])
    }
}

/// To any command but AUTH and its like while the table is locked.
pub(super) fn locked() -> Reply {
    Reply::error("NOAUTH Authentication required.")
}

/// To a command for a default table that is not there.
pub(super) fn no_table(name: &str, error: &OpenTableError) -> Reply {
    match error {
        OpenTableError::PasswordRequired | OpenTableError::WrongPassword => locked(),
        OpenTableError::NoSuchTable => Reply::error(format!("ERR no such table '{name}'")),
        OpenTableError::Denied(reason) => Reply::error(format!("DENIED {reason}")),
        OpenTableError::Unavailable(reason) => Reply::error(format!(
            "CLUSTERDOWN table '{name}' cannot be opened: {reason}"
        )),
    }
}

fn refused(name: &[u8], failure: &Failure) -> Reply {
    match failure {
        Failure::NoPasswordSet => Reply::error(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ),
        Failure::Table(OpenTableError::PasswordRequired | OpenTableError::WrongPassword) => {
            Reply::error("WRONGPASS invalid username-password pair or user is disabled.")
        }
        Failure::Table(OpenTableError::NoSuchTable) => {
            Reply::error(format!("WRONGPASS no such table '{}'", shown(name)))
        }
        Failure::Table(error @ (OpenTableError::Denied(_) | OpenTableError::Unavailable(_))) => {
            no_table(&shown(name), error)
        }
    }
}
