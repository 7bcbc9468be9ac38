//! What the processors use, as Linux tells it (RAPL, `/sys/class/powercap`).
//!
//! A counter of a package is in microjoules and wraps around, after an hour or so under load: it is
//! read once a minute. It counts whatever runs on the package, not the miner alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pouw_api::lanes::PowerView;
use tokio_util::sync::CancellationToken;

const ROOT: &str = "/sys/class/powercap";
const EVERY: Duration = Duration::from_secs(60);
/// Microjoules of a thousandth of a watt-hour.
const MICROJOULES_A_MILLIWATT_HOUR: u128 = 3_600_000;

/// The machine's energy counters, read from a start on.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Result<Arc<Mutex<Vec<Package>>>, String>);

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    range: u64,
    last: u64,
    used: u128,
}

impl Package {
    fn open(folder: &Path) -> std::io::Result<Self> {
        let counter = folder.join("energy_uj");
        let (range, last) = (number(&folder.join("max_energy_range_uj"))?, number(&counter)?);
        Ok(Self { counter, range, last, used: 0 })
    }

    fn read(&mut self) {
        let Ok(now) = number(&self.counter) else { return };
        let used = match now.checked_sub(self.last) {
            Some(used) => used,
            None => self.range.saturating_sub(self.last).saturating_add(now),
        };
        self.used = self.used.saturating_add(used.into());
        self.last = now;
    }
}

fn number(path: &Path) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

impl Meter {
    /// Opens this machine's counters.
    pub(crate) fn open() -> Self {
        Self::open_in(Path::new(ROOT))
    }

    fn open_in(root: &Path) -> Self {
        let unreadable = |error: std::io::Error| format!("{}: {error}", root.display());
        let folders = match std::fs::read_dir(root) {
            Ok(folders) => folders.filter_map(Result::ok),
            Err(error) => return Self(Err(unreadable(error))),
        };
        // A package is `intel-rapl:0`; its parts, which it includes, are `intel-rapl:0:1`.
        let is_package =
            |name: &str| name.strip_prefix("intel-rapl:").is_some_and(|rest| !rest.contains(':'));
        let folders = folders.filter(|entry| entry.file_name().to_str().is_some_and(is_package));
        let packages: Result<Vec<_>, _> =
            folders.map(|entry| Package::open(&entry.path())).collect();
        match packages {
            Ok(packages) if packages.is_empty() => {
                Self(Err(format!("{}: this machine has no energy counters", root.display())))
            }
            Ok(packages) => Self(Ok(Arc::new(Mutex::new(packages)))),
            Err(error) => Self(Err(unreadable(error))),
        }
    }

    /// Reads the counters before they wrap around, until stopped.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let _read = self.milliwatt_hours();
        }
    }

    /// Used since the start by all packages, thousandths of a watt-hour.
    fn milliwatt_hours(&self) -> Result<u64, String> {
        let packages = self.0.as_ref().map_err(Clone::clone)?;
        let mut packages = packages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = 0u128;
        for package in packages.iter_mut() {
            package.read();
            all = all.saturating_add(package.used);
        }
        Ok(u64::try_from(all / MICROJOULES_A_MILLIWATT_HOUR).unwrap_or(u64::MAX))
    }
}

pub(super) fn view(meter: &Meter) -> PowerView {
    match meter.milliwatt_hours() {
        Ok(used) => PowerView { milliwatt_hours: Some(used), unreadable: None },
        Err(why) => PowerView { milliwatt_hours: None, unreadable: Some(why) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_summed_over_packages_and_wraps() {
        let root = tempfile::tempdir().unwrap();
        let set = |name: &str, file: &str, value: u64| {
            let folder = root.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), format!("{value}\n")).unwrap();
        };
        for name in ["intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0", "dtpm"] {
            set(name, "max_energy_range_uj", 100_000_000);
            set(name, "energy_uj", 90_000_000);
        }
        let meter = Meter::open_in(root.path());
        assert_eq!(meter.milliwatt_hours(), Ok(0));
        set("intel-rapl:0", "energy_uj", 97_200_000);
        assert_eq!(meter.milliwatt_hours(), Ok(2));
        set("intel-rapl:1", "energy_uj", 800_000);
        assert_eq!(meter.milliwatt_hours(), Ok(5), "10.8 J of it over the end of the range");
    }

    #[test]
    fn why_nothing_can_be_read_is_told() {
        let root = tempfile::tempdir().unwrap();
        let why = |path: &Path| Meter::open_in(path).milliwatt_hours().unwrap_err();
        assert!(why(root.path()).contains("no energy counters"));
        assert!(why(&root.path().join("absent")).contains("absent: "));
        std::fs::create_dir(root.path().join("intel-rapl:0")).unwrap();
        let view = view(&Meter::open_in(root.path()));
        assert!(view.milliwatt_hours.is_none() && view.unreadable.is_some());
    }
}
