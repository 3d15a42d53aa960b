"""Receivers that are not ours: a Postfix of its own, and Postfix's smtp-sink."""
import contextlib
import email
import email.policy
import os
import shutil
import subprocess
import tempfile
import time
import socket

SERVICES = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
smtp unix - - n - - smtp
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
inet_protocols = ipv4
myhostname = mx1.{domains[0]}
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = {domain_list}
virtual_mailbox_maps = texthash:{folder}/users
virtual_mailbox_base = {folder}/mail
virtual_mailbox_limit = 0
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
default_transport = error: nothing leaves this test
relay_transport = error: nothing leaves this test
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
message_size_limit = 41943040
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
enable_long_queue_ids = no
"""


class Postfix:
    """A Postfix with a virtual mailbox for each user, in all domains alike; everybody else is unknown there. `settings` take the
    place of those above."""

    def __init__(self, address, port, domains, users, certificate, key, settings=None):
        # Its sockets' paths are short, and its own user must be able to come here.
        self.folder = tempfile.mkdtemp(prefix="sluice-postfix-")
        os.chmod(self.folder, 0o755)
        for name in ("spool", "data", "mail", "conf"):
            os.mkdir(os.path.join(self.folder, name))
        shutil.chown(os.path.join(self.folder, "data"), "postfix")
        shutil.chown(os.path.join(self.folder, "mail"), 65534, 65534)
        for source, name in ((certificate, "cert.pem"), (key, "key.pem")):
            shutil.copy(source, os.path.join(self.folder, name))
        text = MAIN.format(folder=self.folder, domains=domains, domain_list=" ".join(domains),
                           certificate=os.path.join(self.folder, "cert.pem"), key=os.path.join(self.folder, "key.pem"))
        kept = [line for line in text.splitlines() if line.split(" = ")[0] not in (settings or {})]
        self._write("conf/main.cf", "\n".join(kept + [f"{name} = {value}" for name, value in (settings or {}).items()]) + "\n")
        self._write("conf/master.cf", SERVICES.format(address=address, port=port))
        self._write("users", "".join(f"{user}@{domain} {user}/\n" for user in users for domain in domains))
        self._command("start")
        wait_listening(address, port, self.log_tail)

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def _command(self, verb):
        done = subprocess.run(["/usr/sbin/postfix", "-c", os.path.join(self.folder, "conf"), verb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise OSError(f"postfix {verb}: {done.stdout}{self.log_tail()}")

    def log_tail(self):
        with contextlib.suppress(OSError), open(os.path.join(self.folder, "mail.log"), encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-15:])
        return ""

    def stop(self):
        with contextlib.suppress(OSError):
            self._command("stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def mail_of(self, user, seconds=20):
        """The messages that `user` has received: bytes as in the maildir, LF line ends, Postfix's own header lines on top."""
        folder = os.path.join(self.folder, "mail", user, "new")
        deadline = time.monotonic() + seconds
        while not os.path.isdir(folder) or not os.listdir(folder):
            if time.monotonic() > deadline:
                raise OSError(f"no mail for {user}:\n{self.log_tail()}")
            time.sleep(0.05)
        messages = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                messages.append(file.read())
        return messages


class Sink:
    """An smtp-sink; what it accepts goes to files in its folder."""

    def __init__(self, stack, name, address, port, *options):
        self.folder = stack.path(name)
        os.mkdir(self.folder)
        shutil.chown(self.folder, "nobody")
        self.process = stack.spawn(name, ["/usr/sbin/smtp-sink", "-u", "nobody", "-R", self.folder, "-d", "%H%M.", *options,
                                          f"{address}:{port}", "1000"])
        wait_listening(address, port, lambda: stack.log_tail(name))

    def recipients(self):
        """Of all accepted messages."""
        found = []
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                message = email.message_from_bytes(file.read(), policy=email.policy.compat32)
            found += [value.strip().strip("<>") for value in message.get_all("X-Rcpt-Args", [])]
        return found


def wait_listening(address, port, log):
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((address, port)) == 0:
                return
        if time.monotonic() > deadline:
            raise OSError(f"{address}:{port} does not answer\n{log()}")
        time.sleep(0.05)
