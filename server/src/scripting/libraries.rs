//! The libraries of functions that are loaded.

use super::library::Registered;
use super::run::Pace;
use super::vm::Vm;
use mlua::Function;

/// A function of a loaded library.
#[derive(Debug, Default)]
pub struct StoredFunction {
    /// Its name.
    pub name: String,
    /// Its library.
    pub library: String,
    /// What it is called in `FUNCTION LIST`.
    pub description: Option<Vec<u8>>,
    /// [`flags`](super::script::flags) bits.
    pub flags: u32,
    /// How it has fared.
    pub pace: Pace,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Libraries {}

impl Libraries {
    /// The function in a VM, compiled now if it was not before.
    ///
    /// # Errors
    ///
    /// As it is replied.
    pub(super) fn function(&self, vm: &mut Vm, function: &StoredFunction) -> Result<Function, String> {
        let _ = (vm, function, std::any::type_name::<Registered>());
        Err("ERR Function not found".to_owned())
    }
}
