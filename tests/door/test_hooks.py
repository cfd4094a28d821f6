"""Which of the library's hooks are open."""

from __future__ import annotations

import asyncssh
from asyncssh.sftp import SFTPServerHandler

from ingest.door.refusing import ALLOWED, DENIED, HELPERS, RefusingServer
from ingest.door.requests import OFFERED
from ingest.door.session import SftpChannel
from ingest.door.view import DropView


def test_allowed_denied_and_helpers_are_all_hooks_of_the_installed_class() -> None:
    """STYLE 1.7: a hook that an upgrade brings fails here rather than opening a door."""
    hooks = {name for name in vars(asyncssh.SFTPServer) if not name.startswith("_")}
    assert hooks == ALLOWED | DENIED | HELPERS
    assert len(hooks) == len(ALLOWED) + len(DENIED) + len(HELPERS)


def test_each_hook_that_touches_files_is_ours() -> None:
    assert vars(DropView).keys() >= ALLOWED
    assert vars(RefusingServer).keys() >= DENIED
    assert vars(DropView).keys().isdisjoint(DENIED)


def test_the_seams_of_the_library_that_we_override_are_there() -> None:
    assert set(OFFERED) <= set(SFTPServerHandler._packet_handlers)
    for name in ("_cleanup", "_process_packet", "_process_limits", "_process_write"):
        assert callable(vars(SFTPServerHandler)[name])
    requests = {name for name in vars(asyncssh.SSHServerChannel) if name.startswith("_process_")}
    assert requests == {
        *("_process_pty_req_request", "_process_x11_req_request", "_process_auth_agent_req_at_openssh_dot_com_request"),
        *("_process_env_request", "_process_shell_request", "_process_exec_request", "_process_subsystem_request"),
        *("_process_window_change_request", "_process_signal_request", "_process_break_request"),
    }
    assert "_process_env_request" in vars(SftpChannel)
