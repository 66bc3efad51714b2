//! A directory of account JWTs: one file for each, named by the public key of the account.
//!
//! A file is replaced in one step, so that a crash leaves the old or the new JWT. Only valid public keys become names
//! of files, so that no request can name a file outside of the directory. All calls block.
// NATS 2.14: dirstore.go.

mod index;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker_core::auth::jwt::{MAX_TOKEN_BYTES, decode_generic};
use broker_core::auth::nkey::{KeyKind, PublicKey};
use broker_core::sort::sort_by;

pub(crate) use index::Hash;

use index::Index;

/// The end of the names of files.
const EXTENSION: &str = "jwt";

/// The depth of directories that are searched: `dir/KEY.jwt`, and `dir/XX/KEY.jwt` as account servers write it.
const DEPTH: usize = 2;

/// Options of a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StoreOptions {
    /// The directory, which is created.
    pub(crate) dir: PathBuf,
    /// The number of JWTs; `None` for no limit.
    pub(crate) limit: Option<usize>,
    /// The treatment of a JWT beyond the limit.
    pub(crate) at_limit: AtLimit,
    /// The time after its last use at which a JWT is removed, in place of its own end.
    pub(crate) ttl: Option<Duration>,
    /// The way in which accounts can be removed.
    pub(crate) removal: Removal,
}

/// The treatment of a JWT beyond the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AtLimit {
    /// It is refused.
    Refuse,
    /// It replaces the one that was not used for the longest time.
    Evict,
}

/// The way in which accounts can be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Removal {
    /// They cannot.
    Refused,
    /// Their files get another name.
    Renamed,
    /// Their files are deleted.
    Deleted,
}

/// The reason why a JWT was not read or stored. The texts are those of the reference.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The name is not the public key of an account.
    #[error("invalid public key")]
    Key,
    /// The JWT is empty or cannot be decoded.
    #[error("invalid JWT")]
    Jwt,
    /// The limit is reached.
    #[error("jwt store is full")]
    Full,
    /// The JWT is about another account.
    #[error("jwt subject nkey and provided nkey do not match")]
    Subject,
    /// Accounts cannot be removed.
    #[error("store is not set up to for delete")]
    NoRemoval,
    /// A line of a package is not `KEY|JWT`.
    #[error("line in package didn't contain 2 entries")]
    Line,
    /// A name in a package is not the public key of an account.
    #[error("key to merge is not a valid public account key")]
    MergedKey,
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A directory of account JWTs.
#[derive(Debug)]
pub(crate) struct Store {
    options: StoreOptions,
    index: Mutex<Index>,
}

impl Store {
    /// Opens a directory and reads all of its JWTs.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if it cannot be created or read.
    pub(crate) fn open(options: StoreOptions, now: SystemTime) -> io::Result<Self> {
        create(&options.dir)?;
        let store = Self { options, index: Mutex::default() };
        store.reload(now)?;
        Ok(store)
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Returns true if accounts can be removed.
    pub(crate) fn may_remove(&self) -> bool {
        self.options.removal != Removal::Refused
    }

    /// Reads a JWT; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) fn load(&self, key: &str, now: SystemTime) -> Result<Option<String>, StoreError> {
        let flat = self.path(key)?;
        let mut index = self.index();
        let path = index.get(key).map_or(&flat, |entry| &entry.path);
        let Some(jwt) = read(path)? else { return Ok(None) };
        index.touch(key, self.ttl_ends(now));
        Ok(Some(jwt))
    }

    /// Stores a JWT. Returns false if it is the one that is stored already.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) fn save(&self, key: &str, jwt: &str, now: SystemTime) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        self.write(&mut self.index(), key, path, jwt, now)
    }

    /// Stores a JWT, unless a newer one is stored already. Returns true if it was stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    // NATS 2.14: dirstore.go saveIfNewer.
    pub(crate) fn save_if_newer(
        &self,
        key: &str,
        jwt: &str,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        let new = decode_generic(jwt).map_err(|_| StoreError::Jwt)?;
        if new.subject != key {
            return Err(StoreError::Subject);
        }
        let mut index = self.index();
        let stored = index.get(key).map_or(&path, |entry| &entry.path);
        if let Some(stored) = read(stored)?
            && let Ok(old) = decode_generic(&stored)
            && (old.id == new.id || old.issued_at > new.issued_at)
        {
            return Ok(false);
        }
        self.write(&mut index, key, path, jwt, now)
    }

    /// Removes a JWT. Returns false if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) fn remove(&self, key: &str) -> Result<bool, StoreError> {
        if !self.may_remove() {
            return Err(StoreError::NoRemoval);
        }
        let flat = self.path(key)?;
        let mut index = self.index();
        let path = index.get(key).map_or(flat, |entry| entry.path.clone());
        let removed = match self.options.removal {
            Removal::Renamed => fs::rename(&path, renamed(&path)),
            Removal::Refused | Removal::Deleted => fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
            Ok(()) => {
                index.remove(key);
                Ok(true)
            }
        }
    }

    /// Removes JWTs whose end has come. Returns their number.
    pub(crate) fn expire(&self, now: SystemTime) -> usize {
        let mut removed = 0;
        let mut index = self.index();
        while let Some(key) = index.ended(seconds(now)).map(str::to_owned) {
            if let Some(entry) = index.remove(&key) {
                // A file that cannot be removed is found again by the next reload.
                let _ = fs::remove_file(entry.path);
                removed += 1;
            }
        }
        removed
    }

    /// Reads the directory again. Returns the keys whose JWTs have changed.
    ///
    /// # Errors
    ///
    /// [`io::Error`] if it cannot be read; nothing has changed then.
    pub(crate) fn reload(&self, now: SystemTime) -> io::Result<Vec<String>> {
        // Locked before the directory is read: a JWT that is stored in between would be taken out of the index.
        let mut index = self.index();
        let mut files = Vec::new();
        find(&self.options.dir, DEPTH, &mut files)?;
        sort_by(&mut files, Ord::cmp);
        let before = std::mem::take(&mut *index);
        let mut changed = Vec::new();
        for (key, path) in files {
            // A file that cannot be read is left out, as in the reference.
            let Ok(Some(jwt)) = read(&path) else { continue };
            let hash = index::hash(&jwt);
            if before.get(&key).is_none_or(|entry| entry.hash != hash) {
                changed.push(key.clone());
            }
            index.put(&key, path, hash, (jwt_ends(&jwt), self.ttl_ends(now)));
        }
        Ok(changed)
    }

    /// Returns a hash of all JWTs: two directories with the same hash have the same ones.
    pub(crate) fn hash(&self) -> Hash {
        self.index().hash()
    }

    /// Returns the keys of all JWTs that have not ended.
    pub(crate) fn keys(&self, now: SystemTime) -> Vec<String> {
        let now = seconds(now);
        let index = self.index();
        let living = index.iter().filter(|(_, entry)| entry.jwt_ends.is_none_or(|end| end >= now));
        living.map(|(key, _)| key.clone()).collect()
    }

    /// Calls `with` for each JWT that has not ended with a package of this one: `KEY|JWT`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if a file could not be read.
    // NATS 2.14: dirstore.go PackWalk.
    pub(crate) fn pack_each(
        &self,
        now: SystemTime,
        mut with: impl FnMut(String),
    ) -> Result<(), StoreError> {
        for key in self.keys(now) {
            let path = self.index().get(&key).map(|entry| entry.path.clone());
            let Some(path) = path else { continue };
            if let Some(jwt) = read(&path)?.filter(|jwt| !jwt.is_empty()) {
                with(format!("{key}|{jwt}"));
            }
        }
        Ok(())
    }

    /// Stores the JWTs of a package (lines of `KEY|JWT`) that are newer. Returns the keys of those that were stored.
    ///
    /// # Errors
    ///
    /// [`StoreError`] at the first line that cannot be stored; those before it are.
    pub(crate) fn merge(&self, package: &str, now: SystemTime) -> Result<Vec<String>, StoreError> {
        let mut stored = Vec::new();
        for line in package.split('\n').filter(|line| !line.is_empty()) {
            let Some((key, jwt)) = line.split_once('|').filter(|(_, jwt)| !jwt.contains('|'))
            else {
                return Err(StoreError::Line);
            };
            if !is_account(key) {
                return Err(StoreError::MergedKey);
            }
            if self.save_if_newer(key, jwt, now)? {
                stored.push(key.to_owned());
            }
        }
        Ok(stored)
    }

    fn write(
        &self,
        index: &mut Index,
        key: &str,
        flat: PathBuf,
        jwt: &str,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        if jwt.is_empty() || jwt.len() > MAX_TOKEN_BYTES {
            return Err(StoreError::Jwt);
        }
        let hash = index::hash(jwt);
        let stored = index.get(key);
        if stored.is_some_and(|entry| entry.hash == hash) {
            index.touch(key, self.ttl_ends(now));
            return Ok(false);
        }
        let path = stored.map_or(flat, |entry| entry.path.clone());
        if stored.is_none() && self.options.limit.is_some_and(|limit| index.len() >= limit) {
            self.make_room(index)?;
        }
        replace(&path, jwt)?;
        index.put(key, path, hash, (jwt_ends(jwt), self.ttl_ends(now)));
        Ok(true)
    }

    fn make_room(&self, index: &mut Index) -> Result<(), StoreError> {
        let least_used = index.least_used().map(str::to_owned);
        let (Some(key), AtLimit::Evict) = (least_used, self.options.at_limit) else {
            return Err(StoreError::Full);
        };
        if let Some(entry) = index.get(&key) {
            match fs::remove_file(&entry.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        index.remove(&key);
        Ok(())
    }

    /// Returns the file of an account that is not stored yet.
    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        if !is_account(key) {
            return Err(StoreError::Key);
        }
        Ok(self.options.dir.join(key).with_extension(EXTENSION))
    }

    fn ttl_ends(&self, now: SystemTime) -> Option<i64> {
        self.options.ttl.map(|ttl| seconds(now).saturating_add_unsigned(ttl.as_secs()))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_account(key: &str) -> bool {
    PublicKey::is_valid(KeyKind::Account, key)
}

/// Returns the end that a JWT sets itself.
fn jwt_ends(jwt: &str) -> Option<i64> {
    let claims = decode_generic(jwt).ok()?;
    (claims.expires > 0).then_some(claims.expires)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn renamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".deleted");
    name.into()
}

/// Reads a JWT; `None` if there is no such file, or if it is too large for a JWT.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(metadata) if metadata.len() > MAX_TOKEN_BYTES as u64 => return Ok(None),
        Ok(_) => {}
    }
    match fs::read_to_string(path) {
        Ok(jwt) => Ok(Some(jwt)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file in one step.
fn replace(path: &Path, jwt: &str) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(jwt.as_bytes())?;
    // Without it a crash of the system could leave an empty file under the new name.
    file.sync_data()?;
    drop(file);
    fs::rename(&temporary, path)
}

fn create(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Adds the account keys and the files of their JWTs.
fn find(dir: &Path, depth: usize, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && depth > 1 {
            // A directory of another user may be unreadable.
            let _ = find(&path, depth - 1, files);
        }
        let is_jwt = path.extension().is_some_and(|extension| extension == EXTENSION);
        let key = path.file_stem().and_then(|stem| stem.to_str());
        if let Some(key) = key.filter(|key| !is_dir && is_jwt && is_account(key)) {
            files.push((key.to_owned(), path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
