//! Paths of the words, made absolute once: a daemon lives in another directory than the one that they were written in.

use std::path::{Path, PathBuf};

use super::{Command, DemoArgs, InfoArgs, LogArgs, MountArgs, ServerArgs};

impl Command {
    /// Makes every path what it means in this directory.
    pub(super) fn make_absolute(&mut self, from: &Path) {
        for path in self.paths_mut() {
            if let Ok(absolute) = std::path::absolute(from.join(&*path)) {
                *path = absolute;
            }
        }
    }

    /// Whether any path means something else in another directory.
    pub(super) fn has_relative_path(&mut self) -> bool {
        self.paths_mut().iter().any(|path| path.is_relative())
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Mount(MountArgs { dir, server, cache, log, source: _, place: _, layouts: _ }) => {
                [vec![dir], server.paths_mut(), cache.place.paths_mut(), log.paths_mut()]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Self::Demo(args) => {
                let DemoArgs { dir, volumes, faults, server, log, .. } = args;
                let volumes = volumes.iter_mut().map(|(_, path)| path);
                let own = dir.iter_mut().chain(volumes).chain(faults.iter_mut());
                own.chain(server.paths_mut()).chain(log.paths_mut()).collect()
            }
            Self::Info(InfoArgs { server, log, .. }) => server.paths_mut().into_iter().chain(log.paths_mut()).collect(),
            Self::Cache(args) => args.place_mut().paths_mut(),
            Self::Umount(args) => vec![&mut args.dir],
            Self::Check(args) => vec![&mut args.dir],
        }
    }
}

impl ServerArgs {
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        [&mut self.metadata, &mut self.token_file, &mut self.cacert].into_iter().flatten().collect()
    }
}

impl LogArgs {
    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        self.log_file.iter_mut().collect()
    }
}
