//! The `sessile` binary: a thin shell over the library.

fn main() -> std::process::ExitCode {
    sessile_server::command_line::main()
}
