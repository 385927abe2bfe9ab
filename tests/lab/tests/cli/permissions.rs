//! Tests which privileges are needed, and how missing ones are reported.

use std::os::unix::fs::{PermissionsExt, chown};

use evenkeel_lab_tests::modules;

use super::*;

const UNPRIVILEGED_UID: u32 = 65534;
const COMMANDS: [&str; 4] = ["plan spec.yaml", "apply --yes spec.yaml", "show", "snapshot"];

const SPEC: &str = "version: 1
vips:
  - { address: 192.0.2.1, interface: eth0 }
services:
  - { name: web, vip: 192.0.2.1, port: 80, real_servers: [ { address: 10.0.0.1 } ] }
";

/// Creates a fixture with a copy of the program that every user may run, in directories of user
/// 65534.
fn fixture() -> Fixture {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    std::fs::copy(program(), fixture.path().join("evenkeel")).unwrap();
    std::fs::create_dir(fixture.path().join("state")).unwrap();
    for path in [fixture.path().to_owned(), fixture.path().join("state")] {
        chown(&path, Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    fixture
}

/// Runs the program behind `setpriv` with these options.
fn with_privileges(fixture: &Fixture, options: &str, arguments: &str) -> Answer {
    let mut command = Command::new("setpriv");
    command.args(options.split_whitespace()).arg(fixture.path().join("evenkeel"));
    command.args(arguments.split_whitespace());
    fixture.output(command)
}

#[test]
fn without_the_capability_every_command_that_needs_the_kernel_names_it() {
    let fixture = fixture();
    for options in [
        "--reuid=65534 --regid=65534 --clear-groups",
        "--inh-caps=-net_admin --bounding-set=-net_admin",
    ] {
        for command in COMMANDS.into_iter().chain(["doctor spec.yaml"]) {
            let answer = with_privileges(&fixture, options, command);
            assert_eq!(
                (answer.status, &*answer.stdout),
                (77, ""),
                "{options} {command}: {answer:?}"
            );
            let (error, hint) = answer.stderr.split_once("\nhint: ").unwrap();
            assert!(error.starts_with("error: ") && error.contains("CAP_NET_ADMIN"), "{answer:?}");
            assert!(hint.contains("CAP_NET_ADMIN"), "{answer:?}");
        }
        let answer = with_privileges(&fixture, options, "plan spec.yaml --detailed-exitcode");
        assert_eq!(answer.status, 77, "{answer:?}");
        let answer = with_privileges(&fixture, options, "plan spec.yaml --live none");
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{answer:?}");
        assert_eq!(ipvsadm::save(), BTreeSet::new());
        assert_eq!(addresses(), BTreeSet::new());
    }
}

#[test]
fn root_of_a_user_namespace_gets_the_same_error() {
    let fixture = fixture();
    for command in COMMANDS {
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "--net"]).arg(fixture.path().join("evenkeel"));
        inside.args(command.split_whitespace());
        let answer = fixture.output(inside);
        assert_eq!((answer.status, &*answer.stdout), (77, ""), "{command}: {answer:?}");
        assert!(
            answer.stderr.contains("CAP_NET_ADMIN in the initial user namespace"),
            "{answer:?}"
        );
    }
}

#[test]
fn an_ordinary_user_with_that_one_capability_can_do_everything() {
    let fixture = fixture();
    let options = "--reuid=65534 --regid=65534 --clear-groups \
                   --inh-caps=+net_admin --ambient-caps=+net_admin";
    for command in COMMANDS {
        let answer = with_privileges(&fixture, options, command);
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{command}: {answer:?}");
    }
    let expected = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1";
    assert_eq!(ipvsadm::save(), lines(expected));
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    let answer = with_privileges(&fixture, options, "plan spec.yaml --detailed-exitcode");
    assert_eq!(answer.status, 0, "{answer:?}");
}

/// Returns the options of an ordinary user with these capabilities and no others.
fn ordinary_with(capabilities: &[&str]) -> String {
    let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
    let list = list.join(",");
    format!(
        "--reuid=65534 --regid=65534 --clear-groups --bounding-set=-all,{list} --inh-caps={list} \
         --ambient-caps={list}"
    )
}

/// Asserts that an apply with these capabilities reports the missing one and its purpose before it
/// changes anything.
fn assert_lacks(fixture: &Fixture, capabilities: &[&str], lack: &str) {
    let before = everything();
    let answer = with_privileges(fixture, &ordinary_with(capabilities), "apply --yes spec.yaml");
    assert_eq!((answer.status, &*answer.stdout), (77, ""), "{answer:?}");
    let (error, hint) = answer.stderr.split_once("\nhint: ").unwrap();
    assert_eq!(error, format!("error: not permitted: {lack}"));
    assert!(hint.starts_with("nothing was changed; "), "{answer:?}");
    assert!(everything() == before);
    let journal = std::fs::read_dir(fixture.path().join("state")).unwrap();
    assert_eq!(journal.count(), 0, "not even the journal");
}

#[test]
fn a_vip_with_neighbours_needs_the_capability_to_announce() {
    let fixture = fixture();
    run("ip link del eth0");
    run("ip link add eth0 up type veth peer name cable");
    run("ip link set cable up");
    // The kernel detects the carrier asynchronously.
    let is_up = || run("ip -br link show eth0").contains("LOWER_UP");
    let is_up = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        is_up() && run("ip -br link show eth0").contains(" UP ")
    });
    assert!(is_up);
    let lack = "CAP_NET_RAW is missing, to announce 192.0.2.1/32 on eth0";
    assert_lacks(&fixture, &["net_admin"], lack);
    let both = ordinary_with(&["net_admin", "net_raw"]);
    let answer = with_privileges(&fixture, &both, "apply --yes spec.yaml");
    assert_eq!((answer.status, &*answer.stderr), (0, ""), "{answer:?}");
    assert_eq!(addresses(), lines("192.0.2.1/32 eth0"));
    // A VIP that is already bound is not announced again, so changes of the table alone need only
    // CAP_NET_ADMIN.
    fixture.write("spec.yaml", SPEC.replace("10.0.0.1", "10.0.0.2"));
    let one = ordinary_with(&["net_admin"]);
    let answer = with_privileges(&fixture, &one, "apply --yes spec.yaml");
    assert_eq!(answer.status, 0, "{answer:?}");
    fixture.assert_in_sync("spec.yaml");
}

/// The kernel loads modules by itself, as for `ipvsadm`.
#[test]
fn loading_a_module_needs_no_further_capability() {
    let fixture = fixture();
    let (one, both) = (ordinary_with(&["net_admin"]), ordinary_with(&["net_admin", "sys_module"]));
    // A new service, and other schedulers for it.
    for (privileges, more, module, outcome) in [
        (&one, ", scheduler: mh", "ip_vs_mh", "left to the kernel"),
        (&one, ", scheduler: sed", "ip_vs_sed", "left to the kernel"),
        (&both, ", scheduler: nq", "ip_vs_nq", "applied"),
    ] {
        fixture.write("spec.yaml", SPEC.replace("port: 80", &format!("port: 80{more}")));
        modules::unload(module);
        let answer = with_privileges(&fixture, privileges, "apply --yes spec.yaml");
        assert_eq!((answer.status, &*answer.stderr), (0, ""), "{answer:?}");
        let row = format!("+ add kernel module {module}: {outcome}\n");
        assert!(answer.stdout.contains(&row), "{answer:?}");
        assert!(modules::is_loaded(module));
        fixture.assert_in_sync("spec.yaml");
    }
}

#[test]
fn a_module_that_cannot_be_loaded_is_reported_and_changes_nothing() {
    let fixture = fixture();
    fixture.write("spec.yaml", SPEC.replace("port: 80", "port: 80, scheduler: mh"));
    modules::unload("ip_vs_mh");
    let before = everything();
    for (capabilities, status, row, words) in [
        // The kernel reports it only when the service is added; earlier steps are rolled back.
        (&["net_admin"][..], 4, "left to the kernel", "the kernel has no scheduler mh"),
        (&["net_admin", "sys_module"], 1, "failed: ", "module ip_vs_mh cannot be loaded"),
    ] {
        let privileges = ordinary_with(capabilities);
        let apply = || with_privileges(&fixture, &privileges, "apply --yes spec.yaml");
        let answer = modules::without_modprobe(apply);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.stdout.contains(words), "{answer:?}");
        let row = format!("+ add kernel module ip_vs_mh: {row}");
        assert!(answer.stdout.contains(&row), "{answer:?}");
        assert!(everything() == before, "{answer:?}");
    }
}

#[test]
fn a_sysctl_a_dummy_device_and_a_drain_need_no_further_capability() {
    let fixture = fixture();
    let one = ordinary_with(&["net_admin"]);
    let spec = SPEC.replace("interface: eth0", "interface: vips, dummy: true");
    let spec = format!("{spec}sysctls: {{ net.ipv4.vs.expire_nodest_conn: 1 }}\n");
    for spec in [spec.clone(), spec.replace("10.0.0.1", "10.0.0.2")] {
        fixture.write("spec.yaml", spec);
        let answer = with_privileges(&fixture, &one, "apply --yes spec.yaml");
        assert_eq!(answer.status, 0, "{answer:?}");
    }
    assert_eq!(run("sysctl -n net.ipv4.vs.expire_nodest_conn").trim(), "1");
    assert_eq!(addresses(), lines("192.0.2.1/32 vips"));
    fixture.assert_in_sync("spec.yaml");
}

#[test]
fn a_kernel_without_ipvs_is_reported_with_a_remedy() {
    let fixture = Fixture::new("");
    fixture.write("spec.yaml", SPEC);
    // A namespace in which IPVS was used also holds the module; this one did not use it.
    modules::unload("ip_vs");
    let answers =
        modules::without_modprobe(|| COMMANDS.map(|command| (command, fixture.evenkeel(command))));
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
    let fixture = Fixture::new("");
    modules::unload("ip_vs");
    fixture.apply(SPEC);
    assert!(modules::is_loaded("ip_vs") && modules::is_loaded("ip_vs_wlc"));
    fixture.assert_in_sync("spec.yaml");
}

/// Root reads and writes in a directory of another user, who may put anything there.
#[test]
fn no_link_in_the_state_directory_makes_a_command_of_root_read_or_write_another_file() {
    for (file, is_refused) in
        [(None, true), (Some("journal.json"), true), (Some("journal.json.new"), false)]
    {
        let fixture = fixture();
        let victim = fixture.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("journal.json"), "{\"version\":9}\n").unwrap();
        let label = evenkeel_host::Namespace::current().unwrap().label();
        let mut link = fixture.path().join("state").join(label);
        let mut target = victim.clone();
        if let Some(file) = file {
            std::fs::create_dir(&link).unwrap();
            link.push(file);
            target.push("journal.json");
        }
        std::os::unix::fs::symlink(target, &link).unwrap();
        let before = everything();
        for command in ["plan spec.yaml", "apply --yes spec.yaml", "teardown --yes"] {
            let answer = fixture.evenkeel(command);
            if !is_refused {
                assert_eq!((answer.status, &*answer.stderr), (0, ""), "{command}: {answer:?}");
                continue;
            }
            assert_eq!((answer.status, &*answer.stdout), (1, ""), "{command}: {answer:?}");
            let error = format!("error: {} is a symbolic link", link.display());
            assert!(answer.stderr.starts_with(&error), "{command}: {answer:?}");
            assert!(answer.stderr.contains("nothing was changed"), "{command}: {answer:?}");
            assert!(everything() == before);
        }
        let names = std::fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["journal.json"]);
        let text = std::fs::read_to_string(victim.join("journal.json")).unwrap();
        assert_eq!(text, "{\"version\":9}\n");
    }
}
