//! The one binary: every server of a cluster, a whole cluster on one machine, and the administrator's shell.
//!
//! Here are only the command line and the exit codes: 0 done, 1 refused or failed (shell), 2 usage or a start that failed,
//! with one line on stderr that says why. What a server does is in its own crate; what its process needs around it
//! (settings, logs, signals) is in [`settings`], [`logs`] and [`servers`].

mod gateway;
mod gateway_shown;
mod logs;
mod onebox;
mod servers;
mod settings;
mod supervised;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Without it the many short-lived buffers of a server go through glibc's arenas, which cost more and keep more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A distributed, persistent key-value store that Redis clients and Rust programs can use.
#[derive(Parser)]
#[command(name = "tulpar", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A whole cluster on this machine, one process per server; Ctrl-C stops it, the data stays.
    Onebox(onebox::Options),
    /// A meta server: keeps the cluster's configuration.
    Meta(ServerOptions),
    /// A replica server: keeps data, answers programs (gRPC) and Redis clients.
    Replica(ServerOptions),
    /// A gateway: answers Redis clients from the whole cluster, keeps nothing.
    Gateway(ServerOptions),
    /// Administration and data, interactive or one command at a time.
    Shell(admin_shell::Options),
}

/// Every key of the file can be overridden by an environment variable `TULPAR__SECTION__KEY`.
#[derive(clap::Args)]
struct ServerOptions {
    /// The configuration file (TOML). Without it: defaults and the environment.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set by `tulpar onebox`: report to that process in JSON, and end with it.
    #[arg(long, value_name = "PID", hide = true)]
    supervised_by: Option<i32>,
}

fn main() -> ExitCode {
    let (role, result) = match CommandLine::parse().command {
        Command::Shell(options) => return admin_shell::run(options),
        Command::Onebox(options) => ("onebox", onebox::run(&options)),
        Command::Meta(options) => server(settings::Role::Meta, &options, servers::meta),
        Command::Replica(options) => server(settings::Role::Replica, &options, servers::replica),
        Command::Gateway(options) => server(settings::Role::Gateway, &options, servers::gateway),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tulpar {role}: {}", one_line(&error));
            ExitCode::from(2)
        }
    }
}

/// A thread that is gone leaves a process that lives and does not serve, which nobody would start again; a process that is gone is
/// started again by whoever watches it. The storage's own tasks are excepted: one bad replica is no reason to end the others.
fn end_with_any_thread() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        if !engine::contains_panics() {
            std::process::abort();
        }
    }));
}

type Serve = fn(&settings::Settings, &supervised::Reporter) -> anyhow::Result<()>;

fn server(
    role: settings::Role,
    options: &ServerOptions,
    serve: Serve,
) -> (&'static str, anyhow::Result<()>) {
    end_with_any_thread();
    let reporter = supervised::Reporter::new(role, options.supervised_by);
    let result = settings::Settings::load(role, options.config.as_deref()).and_then(|settings| {
        logs::start(&settings.log()?)?;
        serve(&settings, &reporter)
    });
    if let Err(error) = &result {
        reporter.failed(&one_line(error));
    }
    (role.name(), result)
}

/// An error and its causes on one line, each cause once.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().replace('\n', " ");
        if !line.contains(text.trim()) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(text.trim());
        }
    }
    line
}
