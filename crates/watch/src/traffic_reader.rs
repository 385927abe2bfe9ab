//! Reads the traffic counters of services and real servers when metrics are scraped.
//!
//! It has its own connection to the kernel, so that a scrape never makes the reconciler wait.

use std::sync::{Arc, Mutex, PoisonError};

use evenkeel_engine::{
    HostKernel, IpvsUse, Journalled, Kernel, KernelError, ReadRequest, error_chain,
};
use evenkeel_model::Desired;

use crate::metrics::{TrafficReader, TrafficReading};

/// The active spec, for its names.
pub(crate) type Names = Arc<Mutex<Arc<Desired>>>;

/// Reads from the network namespace of the thread that makes the first reading.
#[derive(Debug)]
pub(crate) struct KernelTraffic {
    ipvs_use: IpvsUse,
    kernel: Option<HostKernel>,
    names: Names,
}

impl KernelTraffic {
    /// Connects with the first reading.
    pub(crate) fn new(ipvs_use: IpvsUse) -> Self {
        Self { ipvs_use, kernel: None, names: Names::default() }
    }

    /// Returns the cell that the reconciler stores the active spec in.
    pub(crate) fn names(&self) -> Names {
        Arc::clone(&self.names)
    }

    fn try_read(&mut self) -> Result<TrafficReading, KernelError> {
        let kernel = match &mut self.kernel {
            Some(kernel) => kernel,
            // The owners of addresses do not matter here.
            None => {
                let kernel = HostKernel::connect_for(self.ipvs_use, Journalled::default())?;
                self.kernel.insert(kernel)
            }
        };
        let (live, statistics) = kernel.observe_with_statistics(&ReadRequest::new())?;
        let desired = Arc::clone(&self.names.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(TrafficReading { desired, live, statistics })
    }
}

impl TrafficReader for KernelTraffic {
    fn read(&mut self) -> Result<TrafficReading, String> {
        self.try_read().map_err(|error| {
            self.kernel = None;
            error_chain(&error)
        })
    }
}
