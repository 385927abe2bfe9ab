//! Finds other programs that are known to change IPVS or addresses: kube-proxy, keepalived,
//! ldirectord and systemd-networkd. That one runs does not prove that it changes anything; it is the first suspect.

use std::fs;
use std::path::Path;

/// The interface that kube-proxy creates in its IPVS mode, in which it deletes unknown services.
const KUBE_INTERFACE: &str = "kube-ipvs0";

/// Its processes for single services append the service to their name.
const LDIRECTORD: &str = "ldirectord";

/// The programs, by the name that the kernel shows (at most 15 bytes), with a description.
const PROGRAMS: [(&str, &str); 4] = [
    (
        "kube-proxy",
        "kube-proxy (deletes services it does not know unless excludeCIDRs spares them)",
    ),
    ("keepalived", "keepalived (keeps its own virtual servers and addresses)"),
    (LDIRECTORD, "ldirectord (keeps its own virtual servers)"),
    (
        "systemd-network",
        "systemd-networkd (removes addresses it does not know unless ManageForeignAddresses=no)",
    ),
];

/// Returns the descriptions of the programs found on this host.
pub(crate) fn of_this_host() -> Vec<String> {
    running(Path::new("/proc"), Path::new("/proc/thread-self/net/dev"))
}

fn running(processes: &Path, interfaces: &Path) -> Vec<String> {
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
    let is_seen = |program: &str| {
        let is_it = |name: &String| match program {
            LDIRECTORD => name.split(' ').next() == Some(program),
            _ => name == program,
        };
        names.iter().any(is_it) || (program == "kube-proxy" && has_kube)
    };
    let found = PROGRAMS.iter().filter(|(program, _)| is_seen(program));
    found.map(|(_, message)| (*message).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(comms: &[&str], interfaces: &str) -> Vec<String> {
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
    fn programs_are_found_by_their_process_and_kube_proxy_by_its_interface_too() {
        let all = among(&["systemd-network", "sh", "keepalived", "kube-proxy", "ldirectord"], "");
        assert_eq!(all.len(), 4, "{all:?}");
        let one = among(&["ldirectord tcp:"], "");
        assert!(one.len() == 1 && one[0].starts_with("ldirectord"), "{one:?}");
        let kube = among(&[], "Inter-|\n face |\n    lo: 0 0\nkube-ipvs0: 0 0\n");
        assert!(kube.len() == 1 && kube[0].starts_with("kube-proxy"), "{kube:?}");
        assert_eq!(among(&["sh", "keepalive", "ldirectord2"], "    lo: 0\n"), Vec::<String>::new());
    }
}
