//! Samples the daemon's memory and descriptors over time.

use std::fs;

/// One sample of the daemon.
#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    data_kib: u64,
    descriptors: u64,
}

/// Which descriptors a sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    All,
    /// All but sockets, whose number changes while many clients connect.
    WithoutSockets,
}

/// All samples, in order.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

/// The change of one quantity over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: &'static str,
    /// The medians of the four quarters of the time.
    pub(crate) quarters: [u64; 4],
}

impl Samples {
    pub(crate) fn take(&mut self, pid: u32, counted: Counted) {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return };
        let Some(descriptors) = descriptors(pid, counted) else { return };
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        self.0.push(Sample {
            resident_kib: field("VmRSS:"),
            data_kib: field("VmData:"),
            descriptors,
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the changes of resident memory and data memory in KiB, and of descriptors.
    pub(crate) fn changes(&self) -> [Change; 3] {
        let change = |name, value: fn(&Sample) -> u64| {
            let median = |quarter: usize| {
                let at = |quarter| self.0.len() * quarter / 4;
                let samples = self.0[at(quarter)..at(quarter + 1)].iter();
                let mut values: Vec<u64> = samples.map(value).collect();
                values.sort_unstable();
                values.get(values.len() / 2).copied().unwrap_or(0)
            };
            Change { name, quarters: [0, 1, 2, 3].map(median) }
        };
        [
            change("resident, KiB", |it| it.resident_kib),
            change("data, KiB", |it| it.data_kib),
            change("descriptors", |it| it.descriptors),
        ]
    }
}

/// Returns how many descriptors a process has open; `None` if it has ended.
pub(crate) fn descriptors(pid: u32, counted: Counted) -> Option<u64> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let is_counted = |link: &std::path::PathBuf| match counted {
        Counted::All => true,
        Counted::WithoutSockets => !link.to_string_lossy().starts_with("socket:"),
    };
    Some(links.filter(is_counted).count() as u64)
}

impl Change {
    /// Whether memory grew by more than a twentieth and half a MiB, or descriptors by more than the
    /// one of a client that is being served.
    pub(crate) fn is_leak(self) -> bool {
        let [first, .., last] = self.quarters;
        let grown = last.saturating_sub(first);
        match self.name {
            "descriptors" => grown > 1,
            _ => grown > 512 && grown * 20 > first,
        }
    }
}

#[test]
fn growth_is_a_leak_and_a_connected_client_is_not() {
    let change = |name, first, last| Change { name, quarters: [first, 0, 9_999, last] };
    for (leak, first, last) in [(false, 8000, 8400), (true, 8000, 8600), (false, 20_000, 20_900)] {
        assert_eq!(change("resident, KiB", first, last).is_leak(), leak, "{first} {last}");
    }
    assert!(!change("descriptors", 20, 21).is_leak() && change("descriptors", 20, 22).is_leak());
    let sample = |descriptors| Sample { resident_kib: 1, data_kib: 1, descriptors };
    let samples = Samples([3, 9, 3, 4, 4, 4, 5, 6, 7, 8, 9, 9].map(sample).to_vec());
    let [.., descriptors] = samples.changes();
    assert_eq!(descriptors.quarters, [3, 4, 6, 9]);
}
