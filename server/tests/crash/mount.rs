//! Small file systems to fill, to take the right to write from, and to lose: a tmpfs, or ext4 in a file. They need root, and
//! are unmounted whatever happens to the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::FallocateFlags;

/// What stands in the way of mounting: `None` if nothing does.
pub(crate) fn impossible() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting needs root".to_owned());
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    match Mount::tmpfs(home.path(), 1) {
        Ok(_) => None,
        Err(error) => Some(format!("cannot mount: {error}")),
    }
}

/// A mounted file system, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    at: PathBuf,
    image: Option<PathBuf>,
}

/// Runs a program to its end; what it said, if it failed.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

impl Mount {
    /// A tmpfs of so many MiB, in `home/disk`.
    pub(crate) fn tmpfs(home: &Path, mebibytes: u64) -> Result<Mount, String> {
        let at = home.join("disk");
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "sessile-crash", text(&at)])?;
        Ok(Mount { at, image: None })
    }

    /// An ext4 of so many MiB in a file, which becomes read-only at its first error, as most are mounted.
    pub(crate) fn ext4(home: &Path, mebibytes: u64) -> Result<Mount, String> {
        let (at, image) = (home.join("disk"), home.join("image"));
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-m", "0", text(&image)])?;
        let mount = Mount { at, image: Some(image) };
        mount.mount_image()?;
        Ok(mount)
    }

    fn mount_image(&self) -> Result<(), String> {
        let image = self.image.as_deref().ok_or("a tmpfs cannot be mounted again")?;
        run("mount", &["-o", "loop,errors=remount-ro", text(image), text(&self.at)])
    }

    /// Takes the file system away and puts it back, as it is on its disk.
    pub(crate) fn mount_again(&self) -> Result<(), String> {
        run("umount", &[text(&self.at)])?;
        self.mount_image()
    }

    /// Mounts it again with other options.
    pub(crate) fn remount(&self, options: &str) -> Result<(), String> {
        run("mount", &["-o", &format!("remount,{options}"), text(&self.at)])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    /// The bytes that a user may still write.
    pub(crate) fn available(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.at).expect("a mounted file system");
        stat.f_bavail * stat.f_frsize
    }

    /// Fills all but about so many bytes with a file beside the data.
    pub(crate) fn fill_but(&self, left: u64) {
        let file = File::create(self.ballast()).expect("the ballast");
        let mut taken = 0;
        // In portions, as the server takes space at the same time.
        for portion in [32 << 20, 1 << 20, 64 << 10, 4 << 10] {
            while self.available() >= left + portion
                && rustix::fs::fallocate(&file, FallocateFlags::empty(), taken, portion).is_ok()
            {
                taken += portion;
            }
        }
    }

    /// Takes that file away.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).expect("remove the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that is just dying may still have files open in it.
        if let Err(error) = run("umount", &["-l", text(&self.at)]) {
            println!("{error}");
        }
    }
}
