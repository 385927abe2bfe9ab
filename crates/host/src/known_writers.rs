//! Finds other programs that are known to change IPVS or addresses: kube-proxy, keepalived,
//! ldirectord, Pacemaker, kube-vip, vrrpd and systemd-networkd. That one runs does not prove that it changes anything; it is the first suspect.

use std::fmt;
use std::fs;
use std::path::Path;

/// The interface that kube-proxy creates in its IPVS mode, in which it deletes unknown services.
const KUBE_INTERFACE: &str = "kube-ipvs0";

/// A program that is known to change IPVS or addresses; its text is a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownWriter {
    /// kube-proxy in its IPVS mode, found by its interface. In its other modes it changes none of them.
    KubeProxy,
    /// keepalived.
    Keepalived,
    /// ldirectord.
    Ldirectord,
    /// Pacemaker, whose resource agents bind VIPs; Corosync, on which it runs, counts as it.
    Pacemaker,
    /// kube-vip.
    KubeVip,
    /// vrrpd, as of FRR.
    Vrrpd,
    /// systemd-networkd.
    Networkd,
}

impl KnownWriter {
    const ALL: [Self; 7] = [
        Self::KubeProxy,
        Self::Keepalived,
        Self::Ldirectord,
        Self::Pacemaker,
        Self::KubeVip,
        Self::Vrrpd,
        Self::Networkd,
    ];

    /// The name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeProxy => "kube-proxy",
            Self::Keepalived => "keepalived",
            Self::Ldirectord => "ldirectord",
            Self::Pacemaker => "Pacemaker",
            Self::KubeVip => "kube-vip",
            Self::Vrrpd => "vrrpd",
            Self::Networkd => "systemd-networkd",
        }
    }

    /// Whether it moves VIPs between hosts.
    #[must_use]
    pub fn moves_vips(self) -> bool {
        match self {
            Self::Keepalived | Self::Pacemaker | Self::KubeVip | Self::Vrrpd => true,
            Self::KubeProxy | Self::Ldirectord | Self::Networkd => false,
        }
    }

    /// Whether a process of that name is it, as far as the name decides. The kernel shows at most 15 bytes,
    /// and ldirectord's processes for single services append the service to their name.
    fn is(self, name: &str) -> bool {
        match self {
            Self::KubeProxy => false,
            Self::Keepalived => name == "keepalived",
            Self::Ldirectord => name.split(' ').next() == Some("ldirectord"),
            Self::Pacemaker => matches!(name, "pacemakerd" | "corosync"),
            Self::KubeVip => name == "kube-vip",
            Self::Vrrpd => name == "vrrpd",
            Self::Networkd => name == "systemd-network",
        }
    }
}

impl fmt::Display for KnownWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubeProxy => {
                "kube-proxy (deletes services it does not know unless excludeCIDRs spares them)"
            }
            Self::Keepalived => "keepalived (keeps its own virtual servers and addresses)",
            Self::Ldirectord => "ldirectord (keeps its own virtual servers)",
            Self::Pacemaker => "Pacemaker (moves its own addresses)",
            Self::KubeVip => "kube-vip (moves its own addresses)",
            Self::Vrrpd => "vrrpd (moves its own addresses)",
            Self::Networkd => {
                "systemd-networkd (removes addresses it does not know unless \
                 ManageForeignAddresses=no)"
            }
        })
    }
}

/// Returns the programs found on this host, in whichever network namespace they run; kube-proxy only in that of
/// the calling thread.
#[must_use]
pub fn known_writers() -> Vec<KnownWriter> {
    running(Path::new("/proc"), Path::new("/proc/thread-self/net/dev"))
}

fn running(processes: &Path, interfaces: &Path) -> Vec<KnownWriter> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(processes).into_iter().flatten().flatten() {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|it| it.is_ascii_digit());
        if is_process && let Ok(name) = fs::read_to_string(entry.path().join("comm")) {
            names.push(name.trim_end().to_owned());
        }
    }
    let interfaces = fs::read_to_string(interfaces).unwrap_or_default();
    let has_kube = interfaces.lines().any(|line| {
        line.trim_start().split_once(':').is_some_and(|(name, _)| name == KUBE_INTERFACE)
    });
    let is_seen = |writer: &KnownWriter| match writer {
        KnownWriter::KubeProxy => has_kube,
        writer => names.iter().any(|name| writer.is(name)),
    };
    KnownWriter::ALL.into_iter().filter(is_seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(comms: &[&str], interfaces: &str) -> Vec<KnownWriter> {
        let folder = tempfile::tempdir().expect("a folder");
        for (number, comm) in comms.iter().enumerate() {
            let process = folder.path().join(number.to_string());
            fs::create_dir(&process).expect("a folder");
            fs::write(process.join("comm"), format!("{comm}\n")).expect("a file");
        }
        let list = folder.path().join("dev");
        fs::write(&list, interfaces).expect("a file");
        running(folder.path(), &list)
    }

    #[test]
    fn programs_are_found_by_their_process_and_kube_proxy_by_the_interface_of_its_ipvs_mode() {
        let all = [
            "systemd-network",
            "sh",
            "keepalived",
            "kube-proxy",
            "ldirectord",
            "pacemakerd",
            "kube-vip",
            "vrrpd",
        ];
        let kube = "kube-ipvs0: 0 0\n";
        assert_eq!(among(&all, kube), KnownWriter::ALL);
        assert_eq!(among(&all, ""), KnownWriter::ALL[1..]);
        let one = among(&["ldirectord tcp:"], "");
        assert_eq!(one, [KnownWriter::Ldirectord]);
        assert_eq!(among(&["corosync"], ""), [KnownWriter::Pacemaker]);
        let kube = among(&[], "Inter-|\n face |\n    lo: 0 0\nkube-ipvs0: 0 0\n");
        assert_eq!(kube, [KnownWriter::KubeProxy]);
        assert_eq!(among(&["sh", "keepalive", "ldirectord2"], "    lo: 0\n"), []);
    }
}
