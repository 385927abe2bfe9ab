//! Options of `doctor`.

use clap::Args;
use evenkeel_doctor::Code;

use super::{OutputArgs, SpecArgs};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Ask neighbours (ARP, NDP) whether real servers answer, and whether other hosts answer for VIPs; takes a
    /// second, and needs CAP_NET_RAW.
    #[arg(long)]
    pub(crate) probe: bool,
    /// Leave out findings with these codes, separated by commas; can be repeated.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) ignore: Vec<Code>,
    /// Explain a code (EK012), and read neither a spec nor the host.
    #[arg(long, value_name = "CODE", conflicts_with_all = ["spec", "set", "ignore", "probe"])]
    pub(crate) explain: Option<Code>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
