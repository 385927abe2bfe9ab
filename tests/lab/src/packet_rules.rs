//! The packet rules of a network namespace, as `nft` and `arptables` list them.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::{fresh_namespace, is_emulated, run};

/// The name of arptables in Debian, where it has no other.
pub const ARPTABLES: &str = "arptables-legacy";

/// Whether the kernel has nftables for IPv4 and ARP: User-Mode Linux has not, and the kernel of an
/// emulated machine has.
///
/// # Panics
/// Panics without the privilege to create a network namespace, and if it is not so: a test that needs
/// nftables would do nothing where `nft` is missing.
#[must_use]
pub fn has_nftables() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let check = || {
        fresh_namespace();
        ["ip", "arp"].map(|family| {
            let mut add = Command::new("nft");
            add.args(["add", "table", family, "probe"]).output().expect("the program nft")
        })
    };
    *FOUND.get_or_init(|| {
        let answers = std::thread::spawn(check).join().expect("an answer");
        let found = answers.iter().all(|it| it.status.success());
        assert_eq!(found, is_emulated(), "{answers:?}");
        found
    })
}

/// Returns the rules of the calling thread's network namespace, a line each. Empty chains of the kernel
/// itself are no rules.
///
/// # Panics
/// Panics if a program fails.
#[must_use]
pub fn listed() -> Vec<String> {
    let mut lines: Vec<String> = run("nft list ruleset").lines().map(str::to_owned).collect();
    // Listing it would create it.
    let tables = Path::new("/proc/thread-self/net/arp_tables_names");
    let tables = std::fs::read_to_string(tables).unwrap_or_default();
    if tables.contains("filter") {
        let listed = arptables_rules();
        let of_kernel =
            ["INPUT", "OUTPUT", "FORWARD"].map(|it| format!("Chain {it} (policy ACCEPT)"));
        let rules = listed.lines().map(str::trim).filter(|line| !line.is_empty());
        let rules = rules.filter(|line| !of_kernel.iter().any(|chain| chain == line));
        lines.extend(rules.map(|line| format!("arptables {line}")));
    }
    lines
}

/// What arptables lists. It fails if another program changes the table at the same moment.
fn arptables_rules() -> String {
    let list = || Command::new(ARPTABLES).args(["-n", "-L"]).output().expect(ARPTABLES);
    let mut answers = (0..20).map(|_| list());
    let listed = answers.find(|it| it.status.success()).expect("the rules");
    String::from_utf8(listed.stdout).expect("text")
}
