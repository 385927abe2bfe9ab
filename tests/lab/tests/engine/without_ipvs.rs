//! A real server whose kernel has no IPVS.

use evenkeel_engine::{Exception, IpvsUse, Journalled, KernelError};
use evenkeel_ipvs::modules as kernel_modules;
use evenkeel_lab_tests::modules::{is_loaded, unload, without_modprobe};
use evenkeel_lab_tests::run;
use evenkeel_model::Binding;
use evenkeel_plan::Op;

use super::*;

#[test]
fn a_host_that_needs_no_ipvs_works_without_it_and_does_not_load_it() {
    fresh_namespace();
    run("ip link set lo up");
    unload("ip_vs");
    let mut kernel = HostKernel::connect_for(IpvsUse::IfPresent, Journalled::default()).unwrap();
    let request = ReadRequest::new();
    let digest = kernel.probe().unwrap();
    let live = kernel.observe(&request).unwrap();
    assert!(live.services.is_empty() && live.sync.is_empty());
    assert_eq!(live.timeouts, None);
    assert!(kernel.is_unchanged(&digest, &live, &[tcp("192.0.2.1:80")].into(), &request).unwrap());
    let binding = Binding::host([192, 0, 2, 1].into(), "lo");
    let replies = kernel.execute(&[Op::Bind { binding: binding.clone(), label: None }]).unwrap();
    assert!(replies.exceptions.is_empty(), "{replies:?}");
    assert!(!kernel.is_unchanged(&digest, &live, &BTreeSet::new(), &request).unwrap());
    assert!(kernel.observe(&request).unwrap().addresses.contains_key(&binding));
    assert!(!is_loaded("ip_vs"));

    let service = || Op::AddService { key: tcp("192.0.2.1:80"), after: Box::new(config("rr")) };
    let (required, refused) = without_modprobe(|| {
        (
            HostKernel::connect(Journalled::default()).map(drop),
            kernel.execute(&[service()]).map(drop),
        )
    });
    kernel_modules::load("ip_vs").unwrap();
    for outcome in [required, refused] {
        assert!(matches!(outcome, Err(KernelError::NoIpvs(_))), "{outcome:?}");
    }
    let replies = kernel.execute(&[service()]).unwrap();
    assert_eq!(replies.exceptions, [].into(), "the module is there now");
    assert_eq!(kernel.observe(&request).unwrap().services.len(), 1);
}

#[test]
fn a_host_that_needs_no_ipvs_reads_the_table_where_there_is_one() {
    let _ = host_with("-A -t 192.0.2.1:80 -s rr");
    let mut kernel = HostKernel::connect_for(IpvsUse::IfPresent, Journalled::default()).unwrap();
    let live = kernel.observe(&ReadRequest::new()).unwrap();
    assert_eq!(live.services.len(), 1);
    assert!(live.timeouts.is_some());
    let replies = kernel.execute(&[Op::DeleteService {
        key: tcp("192.0.2.9:80"),
        before: Box::new(live.services[&tcp("192.0.2.1:80")].clone()),
    }]);
    assert!(matches!(replies.unwrap().exceptions[&0], Exception::Refused(_)));
}
