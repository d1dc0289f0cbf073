"""What a server reaches outside of its machine, on the loopback interface of the network namespace in which this runs: a name server,
which says that every name is 127.0.0.1, and a mail server with TLS. Prints the recipients of the mails. Usage: outside.py CERT KEY."""

import socketserver
import ssl
import sys
import threading

ADDRESS = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        query, socket = self.request
        end = query.index(b"\0", 12) + 5
        wants_ipv4 = query[end - 4 : end - 2] == b"\0\1"
        counts = b"\0\1" + (b"\0\1" if wants_ipv4 else b"\0\0") + b"\0\0\0\0"
        socket.sendto(query[:2] + b"\x81\x80" + counts + query[12:end] + (ADDRESS if wants_ipv4 else b""), self.client_address)


class Mails(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 mail.example.org\r\n")
        content = False
        for line in self.rfile:
            if content and line != b".\r\n":
                continue
            content = line == b"DATA\r\n"
            if line.startswith(b"RCPT"):
                print(line.decode().strip(), flush=True)
            self.wfile.write(b"354 go on\r\n" if content else b"250 done\r\n")


class TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def get_request(self):
        connection, address = self.socket.accept()
        return tls.wrap_socket(connection, server_side=True), address

    def handle_error(self, request, address):
        pass  # a client that does not trust the certificate


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(*sys.argv[1:])
mails = TlsServer(("127.0.0.1", 465), Mails)
threading.Thread(target=mails.serve_forever, daemon=True).start()
socketserver.UDPServer(("127.0.0.1", 53), Names).serve_forever()
