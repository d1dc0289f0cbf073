/* A static program of glibc looks names up with the modules that /etc/nsswitch.conf names on the machine where it runs. If they
   belong to another version of glibc, the program crashes: Debian 12's on Debian 13 with systemd-resolved or Avahi. This limits it
   to the modules that it contains. */
#include <nss.h>

__attribute__((constructor)) static void use_own_modules(void) {
  __nss_configure_lookup("hosts", "files dns");
  __nss_configure_lookup("passwd", "files");
}
