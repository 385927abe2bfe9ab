//! Options of the daemon, and of the commands that talk to it.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::time::positive_time;
use super::{OutputArgs, OutputFormat, SpecArgs};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Check the host at least this often, to repair drift that the kernel does not report.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_time)]
    pub(crate) interval: u32,
    /// Read a table of more than 64 services completely at least this often (default: ten
    /// intervals). Other checks read a summary (/proc/net/ip_vs), which does not show all drift.
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    pub(crate) full_interval: Option<u32>,
    /// The address that serves /metrics, /healthz, /readyz and /status; `none` for no endpoint.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9479", value_parser = listen)]
    pub(crate) listen: String,
    /// Answer requests for this host name, too, on a loopback address of --listen; may be repeated. By
    /// default only loopback names are answered there (localhost, 127.0.0.0/8, ::1).
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Report drift without changing anything.
    #[arg(long)]
    pub(crate) observe: bool,
    /// Export connections, packets, bytes and rates of these objects in /metrics.
    #[arg(long, value_enum, default_value = "real-servers")]
    pub(crate) traffic: TrafficDetail,
    /// Export traffic of at most this many objects. If there are more, /metrics omits all real
    /// servers, and any services beyond the limit.
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    pub(crate) traffic_limit: usize,
}

/// An address or host name, and a port, or `none`. The name is resolved and the address bound only
/// when the daemon starts.
fn listen(text: &str) -> Result<String, String> {
    let is_address = text.parse::<SocketAddr>().is_ok();
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_name = |it: char| it.is_alphanumeric() || matches!(it, '-' | '.' | '_');
        !host.is_empty() && host.chars().all(is_name) && port.parse::<u16>().is_ok()
    });
    if text == "none" || is_address || is_named {
        return Ok(text.to_owned());
    }
    Err("write an address and a port such as 127.0.0.1:9479 or [::1]:9479, or `none`".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrafficDetail {
    /// None.
    Off,
    /// Services.
    Services,
    /// Services and their real servers.
    RealServers,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// After the status, print the daemon's events as they happen, one per line, until Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The id of the plan, as `evenkeel status` shows it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// How long to pause (90s, 15m); by default until `evenkeel resume`.
    #[arg(value_name = "TIME", value_parser = positive_time)]
    pub(crate) time: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Arguments;

    #[test]
    fn an_endpoint_is_an_address_or_a_name_with_a_port_or_none() {
        let parsed = |listen: &str| {
            Arguments::try_parse_from(["evenkeel", "watch", "--listen", listen]).is_ok()
        };
        let good = ["127.0.0.1:9479", "[::1]:0", "[::1%2]:9479", "localhost:9479", "none"];
        assert!(good.into_iter().all(parsed));
        for bad in ["nonsense", "", ":9479", "127.0.0.1", "::1:9479", "localhost:http", "a b:1"] {
            assert!(!parsed(bad), "{bad}");
        }
    }
}
