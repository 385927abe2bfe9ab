//! What a plan makes of a live state when every operation is applied.

use evenkeel_model::{Link, Live, Owner, RealServers, Service};

use crate::Op;

/// The live state after those operations. One on an object that is not there changes nothing.
pub fn simulate(live: &Live, steps: &[Op]) -> Live {
    let mut after = live.clone();
    for op in steps {
        simulate_op(&mut after, op);
    }
    after
}

/// Makes of a state what one operation does.
pub(crate) fn simulate_op(state: &mut Live, op: &Op) {
    let Live { services, addresses, links, timeouts, sync, sysctls, modules } = state;
    match op {
        Op::AddModule { module } => {
            if let Some(modules) = modules {
                modules.insert(module.clone());
            }
        }
        Op::EditSysctl { key, after, .. } => {
            sysctls.insert(key.clone(), after.clone());
        }
        Op::EditTimeouts { after, .. } => *timeouts = Some(*after),
        Op::AddSync { state, after } => {
            sync.insert(*state, (**after).clone());
        }
        Op::DeleteSync { state, .. } => {
            sync.remove(state);
        }
        Op::AddDummy { interface } => {
            if let Some(links) = links {
                links.insert(
                    interface.clone(),
                    Link { up: true, dummy: true, owner: Owner::Evenkeel },
                );
            }
        }
        Op::EditDummy { interface } => {
            let link = links.as_mut().and_then(|links| links.get_mut(interface));
            if let Some(link) = link {
                link.up = true;
            }
        }
        Op::DeleteDummy { interface } => {
            if let Some(links) = links {
                links.remove(interface);
            }
        }
        Op::AddService { key, after } => {
            let (config, real_servers) = ((**after).clone(), RealServers::new());
            services.insert(*key, Service { config, real_servers });
        }
        Op::EditService { key, after, .. } => {
            if let Some(service) = services.get_mut(key) {
                service.config = (**after).clone();
            }
        }
        Op::DeleteService { key, .. } => {
            services.remove(key);
        }
        Op::AddRealServer { service, key, after }
        | Op::EditRealServer { service, key, after, .. } => {
            if let Some(service) = services.get_mut(service) {
                service.real_servers.insert(*key, *after);
            }
        }
        Op::DrainRealServer { service, key, .. } => {
            let service = services.get_mut(service);
            if let Some(real_server) = service.and_then(|it| it.real_servers.get_mut(key)) {
                real_server.weight = 0;
            }
        }
        Op::DeleteRealServer { service, key, .. } => {
            if let Some(service) = services.get_mut(service) {
                service.real_servers.remove(key);
            }
        }
        Op::Bind { binding } => {
            addresses.insert(binding.clone(), Owner::Evenkeel);
        }
        Op::Unbind { binding } => {
            addresses.remove(binding);
        }
    }
}
