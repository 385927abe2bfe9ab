//! Options of the commands that begin, list and end overrides.

use clap::Args;
use evenkeel_model::{MAX_WEIGHT, OverrideTarget};

use super::time::positive_time;
use super::{OutputArgs, OutputFormat};

#[derive(Debug, Args)]
pub(crate) struct OverrideArgs {
    /// The real servers: SERVICE/REAL_SERVER (web/10.0.0.5:80), or REAL_SERVER in every service. Without a
    /// port, every port; IPv6 in brackets.
    #[arg(value_name = "TARGET")]
    pub(crate) target: OverrideTarget,
    #[command(flatten)]
    pub(crate) terms: TermArgs,
}

#[derive(Debug, Args)]
pub(crate) struct WeightArgs {
    /// The weight.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_WEIGHT)))]
    pub(crate) weight: u32,
    /// The real servers: SERVICE/REAL_SERVER (web/10.0.0.5:80), or REAL_SERVER in every service. Without a
    /// port, every port; IPv6 in brackets.
    #[arg(value_name = "TARGET")]
    pub(crate) target: OverrideTarget,
    #[command(flatten)]
    pub(crate) terms: TermArgs,
}

/// For how long, and why.
#[derive(Debug, Args)]
pub(crate) struct TermArgs {
    /// How long it lasts (90s, 15m, 2h).
    #[arg(
        long = "for",
        value_name = "TIME",
        value_parser = positive_time,
        required_unless_present = "until_cleared",
        conflicts_with = "until_cleared"
    )]
    pub(crate) time: Option<u32>,
    /// It lasts until `evenkeel clear`.
    #[arg(long)]
    pub(crate) until_cleared: bool,
    /// Why, for those who see it in plans and in the status.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OverridesArgs {
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    /// The target as `evenkeel overrides` lists it.
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) target: Option<OverrideTarget>,
    /// End all overrides.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Arguments;

    #[test]
    fn an_override_has_a_target_and_an_end() {
        let is_good = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "evenkeel drain web/10.0.0.5 --for 2h",
            "evenkeel disable 10.0.0.5:80 --until-cleared --reason disks",
            "evenkeel enable [2001:db8::5]:80 --for 90s --output json",
            "evenkeel weight 0 web/[2001:db8::5] --for 1m",
            "evenkeel weight 2147483647 10.0.0.5 --for 1m",
            "evenkeel overrides --output json",
            "evenkeel clear 10.0.0.5",
            "evenkeel clear --all",
        ] {
            assert!(is_good(good), "{good}");
        }
        for bad in [
            "evenkeel drain 10.0.0.5",
            "evenkeel drain --for 2h",
            "evenkeel drain web --for 2h",
            "evenkeel drain 10.0.0.5 --for 0s",
            "evenkeel drain 10.0.0.5 --for 2h --until-cleared",
            "evenkeel weight 10.0.0.5 --for 2h",
            "evenkeel weight -1 10.0.0.5 --for 2h",
            "evenkeel weight 2147483648 10.0.0.5 --for 2h",
            "evenkeel clear",
            "evenkeel clear 10.0.0.5 --all",
        ] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}
