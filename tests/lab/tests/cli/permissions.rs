//! Which privileges are needed, and how their absence is told.

use std::os::unix::fs::{PermissionsExt, chown};

use evenkeel_lab_tests::modules;

use super::*;

const NOBODY: u32 = 65534;
const COMMANDS: [&str; 4] = ["plan spec.yaml", "apply --yes spec.yaml", "show", "snapshot"];

const SPEC: &str = "version: 1
vips:
  - { address: 192.0.2.1, interface: eth0 }
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

/// A site with a copy of the program that anyone may run, in folders that belong to nobody.
fn site() -> Site {
    let site = Site::new("");
    site.write("spec.yaml", SPEC);
    std::fs::copy(program(), site.path().join("evenkeel")).unwrap();
    std::fs::create_dir(site.path().join("state")).unwrap();
    for path in [site.path().to_owned(), site.path().join("state")] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    site
}

/// Runs the program behind `setpriv` with those options.
fn with_privileges(site: &Site, options: &str, arguments: &str) -> Answer {
    let mut command = Command::new("setpriv");
    command.args(options.split_whitespace()).arg(site.path().join("evenkeel"));
    command.args(arguments.split_whitespace());
    site.output(command)
}

#[test]
fn without_the_capability_every_command_that_needs_the_kernel_names_it() {
    let site = site();
    for options in [
        "--reuid=65534 --regid=65534 --clear-groups",
        "--inh-caps=-net_admin --bounding-set=-net_admin",
    ] {
        for command in COMMANDS {
            let answer = with_privileges(&site, options, command);
            assert_eq!(
                (answer.status, &*answer.stdout),
                (77, ""),
                "{options} {command}: {answer:?}"
            );
            let (error, hint) = answer.stderr.split_once("\nhint: ").unwrap();
            assert!(error.starts_with("error: ") && error.contains("CAP_NET_ADMIN"), "{answer:?}");
            assert!(hint.contains("CAP_NET_ADMIN"), "{answer:?}");
        }
        let answer = with_privileges(&site, options, "plan spec.yaml --detailed-exitcode");
        assert_eq!(answer.status, 77, "{answer:?}");
        let answer = with_privileges(&site, options, "plan spec.yaml --live none");
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{answer:?}");
        assert_eq!(ipvsadm::save(), BTreeSet::new());
        assert_eq!(addresses(), BTreeSet::new());
    }
}

#[test]
fn root_of_a_user_namespace_of_its_own_is_told_alike() {
    let site = site();
    for command in COMMANDS {
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "--net"]).arg(site.path().join("evenkeel"));
        inside.args(command.split_whitespace());
        let answer = site.output(inside);
        assert_eq!((answer.status, &*answer.stdout), (77, ""), "{command}: {answer:?}");
        assert!(
            answer.stderr.contains("CAP_NET_ADMIN in the initial user namespace"),
            "{answer:?}"
        );
    }
}

#[test]
fn an_ordinary_user_with_that_one_capability_can_do_everything() {
    let site = site();
    let options = "--reuid=65534 --regid=65534 --clear-groups \
                   --inh-caps=+net_admin --ambient-caps=+net_admin";
    for command in COMMANDS {
        let answer = with_privileges(&site, options, command);
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{command}: {answer:?}");
    }
    let expected = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1";
    assert_eq!(ipvsadm::save(), lines(expected));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    let answer = with_privileges(&site, options, "plan spec.yaml --detailed-exitcode");
    assert_eq!(answer.status, 0, "{answer:?}");
}

#[test]
fn a_kernel_without_ipvs_is_told_with_what_to_do_about_it() {
    let site = Site::new("");
    site.write("spec.yaml", SPEC);
    // This namespace holds the module, too, once anyone has asked for IPVS in it; nobody has.
    modules::unload("ip_vs");
    let answers =
        modules::without_modprobe(|| COMMANDS.map(|command| (command, site.evenkeel(command))));
    let loaded = modules::is_loaded("ip_vs");
    run("modprobe ip_vs");
    assert!(!loaded);
    for (command, answer) in answers {
        assert_eq!((answer.status, &*answer.stdout), (1, ""), "{command}: {answer:?}");
        let (error, hint) = answer.stderr.split_once("\nhint: ").unwrap();
        assert!(
            error.starts_with("error: ") && error.contains("the kernel has no IPVS"),
            "{answer:?}"
        );
        assert!(hint.contains("modprobe ip_vs"), "{answer:?}");
    }
    assert_eq!(addresses(), BTreeSet::new());
}

#[test]
fn a_module_that_is_not_loaded_yet_is_loaded() {
    let site = Site::new("");
    modules::unload("ip_vs");
    site.apply(SPEC);
    assert!(modules::is_loaded("ip_vs") && modules::is_loaded("ip_vs_wlc"));
    site.assert_in_sync("spec.yaml");
}
