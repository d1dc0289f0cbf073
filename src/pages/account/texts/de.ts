// The texts of the account pages, in German. "E‑Mail" has a hyphen at which no line breaks (U+2011).

import { de as shared } from "$shared/texts/de.js";
import type { Misplaced, Translation } from "$shared/texts/types.js";
import type { Texts } from "./en.js";

const de = {
  unavailable: { title: "Diese Seite kann nicht angezeigt werden" },
  notFound: { title: "Seite nicht gefunden", lead: "Unter dieser Adresse gibt es keine Seite.", back: "Zu Ihrem Konto" },

  menu: {
    label: "Ihr Konto",
    profile: "Profil",
    email: "E‑Mail-Adresse",
    password: "Passwort",
    sessions: "Sitzungen",
    close: "Konto schließen",
    back: "Zurück zu {host}",
    signOut: "Abmelden",
  },

  signedOut: {
    logged_out: "Sie haben sich abgemeldet.",
    elsewhere: "Sie haben sich in einem anderen Tab abgemeldet.",
    session_ended: "Ihre Sitzung ist beendet. Melden Sie sich wieder an.",
    closed: "Ihr Konto wurde geschlossen.",
  },

  signIn: {
    title: "Anmelden",
    lead: "Weiter zu: {service}",
    identifier: "E‑Mail-Adresse oder Benutzername",
    password: "Passwort",
    submit: "Anmelden",
    forgotten: "Passwort vergessen?",
    newHere: "Neu hier?",
    signUp: "Konto anlegen",
  },

  signUp: {
    title: "Konto anlegen",
    lead: "Ein Konto für {service}.",
    email: "E‑Mail-Adresse",
    submit: "Konto anlegen",
    haveOne: "Haben Sie schon ein Konto?",
    addressLead: "Geben Sie Ihre E‑Mail-Adresse ein. Wir senden Ihnen eine E‑Mail mit einem Code.",
    send: "Code senden",
    codeLead: "Wir haben eine E‑Mail an {address} gesendet. Geben Sie den Code daraus ein und wählen Sie ein Passwort, oder öffnen Sie den Link.",
    linkTitle: "Registrierung abschließen",
    linkLead: "Damit ist auch Ihre Adresse {address} bestätigt.",
    otherAddress: "Andere Adresse verwenden",
    closedTitle: "Keine neuen Konten",
    closedLead: "Hier kann zurzeit niemand ein Konto anlegen.",
    invitedTitle: "Nur mit Einladung",
    invitedLead: "Für ein Konto brauchen Sie eine Einladung der Betreiber. Sie kommt per E‑Mail.",
  },

  code: {
    title: "Schauen Sie in Ihr Postfach",
    label: "Code aus der E‑Mail",
    hint: "8 Ziffern. Leerzeichen sind egal.",
    noMail: "Keine E‑Mail? Schauen Sie im Spam-Ordner nach.",
    soon: "In einer Minute können Sie sie noch einmal senden lassen.",
    again: "E‑Mail noch einmal senden",
    sentAgain: "Wir haben die E‑Mail noch einmal gesendet.",
  },

  reset: {
    title: "Neues Passwort wählen",
    askTitle: "Passwort vergessen?",
    askLead: "Geben Sie Ihre E‑Mail-Adresse oder Ihren Benutzernamen ein. Wir senden Ihnen eine E‑Mail mit einem Code.",
    codeLead: "Wenn es ein Konto für {identifier} gibt, ist eine E‑Mail unterwegs. Geben Sie den Code daraus ein und wählen Sie ein neues Passwort, oder öffnen Sie den Link.",
    linkLead: "Für das Konto {address}.",
    effect: "Damit werden Sie auf allen anderen Geräten abgemeldet.",
    password: "Neues Passwort",
    submit: "Neues Passwort speichern",
    doneTitle: "Ihr Passwort ist geändert",
    doneLead: "Sie sind hier angemeldet und überall sonst abgemeldet.",
    doneLeadOut: "Sie sind überall abgemeldet. Melden Sie sich mit dem neuen Passwort an.",
    back: "Zurück zur Anmeldung",
    noMail: "Dieser Dienst versendet keine E‑Mails. Bitten Sie die Betreiber um ein neues Passwort.",
  },

  revert: {
    title: "Änderung Ihrer Adresse rückgängig machen",
    lead: "Ihr Konto bekommt die Adresse {address} zurück. Wählen Sie auch ein neues Passwort, denn jemand anderes kennt vielleicht das alte.",
    effect: "Dabei werden alle abgemeldet, die bei diesem Konto angemeldet sind.",
    submit: "Meine Adresse wiederherstellen",
    doneTitle: "Ihre Adresse ist wiederhergestellt",
    doneLead: "Ihr Konto hat wieder die Adresse {address} und Ihr neues Passwort.",
  },

  accept: {
    title: "Willkommen",
    lead: "Sie sind zu {service} eingeladen. Wählen Sie ein Passwort für Ihr Konto {address}.",
  },

  verify: {
    title: "Adresse bestätigen",
    lead: "Wir senden eine E‑Mail mit einem Code an {address}. Damit zeigen Sie, dass die Adresse Ihnen gehört.",
    send: "E‑Mail senden",
    codeLead: "Wir haben eine E‑Mail an {address} gesendet. Geben Sie den Code daraus ein oder öffnen Sie den Link in diesem Browser.",
    submit: "Bestätigen",
    linkLead: "Bestätigen Sie, dass die Adresse {address} Ihnen gehört.",
    linkSubmit: "Adresse bestätigen",
    doneTitle: "Ihre Adresse ist bestätigt",
    doneLead: "Danke. Wir wissen jetzt, dass {address} Ihnen gehört.",
    alreadyLead: "{address} ist bereits bestätigt. Es ist nichts weiter zu tun.",
    later: "Später",
    noMail: "Dieser Dienst versendet keine E‑Mails, deshalb lassen sich Adressen nicht bestätigen.",
  },

  change: {
    title: "Neue Adresse bestätigen",
    lead: "Ihr Konto bekommt die Adresse {address}.",
    submit: "Diese Adresse verwenden",
    doneTitle: "Ihre Adresse ist geändert",
    doneLead: "Ihr Konto hat jetzt die Adresse {address}.",
    toAddress: "Zu Ihrer Adresse",
  },

  paste: {
    title: "Öffnen Sie den Link aus der E‑Mail",
    lead: "Diese Seite braucht den ganzen Link. Wenn Sie die Seite neu geladen haben oder Ihr E‑Mail-Programm den Link gekürzt hat, kopieren Sie ihn aus der E‑Mail und fügen Sie ihn hier ein.",
    label: "Link aus der E‑Mail",
    fault: "Das ist nicht der Link aus der E‑Mail. Er enthält #t= und viele Buchstaben.",
    submit: "Weiter",
  },

  link: {
    expired_ticket: { title: "Dieser Link ist abgelaufen", lead: "Zu Ihrer Sicherheit gelten Links in E‑Mails nur eine begrenzte Zeit." },
    spent_ticket: { title: "Dieser Link wurde bereits verwendet", lead: "Jeder Link funktioniert nur einmal. Er wird auch ungültig, wenn ein neuerer ihn ersetzt." },
    invalid_ticket: { title: "Dieser Link funktioniert nicht", lead: "Vielleicht fehlt ein Teil. Öffnen Sie ihn noch einmal aus der E‑Mail." },
    signedInAs: "Sie sind hier als {name} angemeldet. Danach sind Sie als {address} angemeldet.",
    otherAccount: "Vielleicht gehört er zu einem anderen Konto als dem, das hier angemeldet ist.",
    next: {
      reset: "Neue E‑Mail anfordern",
      signUp: "Neu beginnen",
      signIn: "Anmelden",
      verify: "Neue E‑Mail anfordern",
      email: "Zu Ihrer Adresse",
      account: "Zu Ihrem Konto",
      signOut: "Mit einem anderen Konto anmelden",
    },
    nextRevert: "Wenn Ihre Adresse gegen Ihren Willen geändert wurde, wenden Sie sich an die Betreiber.",
    nextInvite: "Wenn Sie noch kein Konto haben, bitten Sie die Person, die Sie eingeladen hat, um eine neue Einladung.",
  },

  profile: {
    title: "Profil",
    unverified: "Bitte bestätigen Sie, dass {address} Ihre Adresse ist.",
    pending: "Ihre neue Adresse {address} wartet auf den Code aus unserer E‑Mail.",
    confirm: "Adresse bestätigen",
    name: "Name",
    nameHint: "So sprechen wir Sie in E‑Mails an.",
    username: "Benutzername",
    usernameHint: "Auch damit können Sie sich anmelden. 3 bis 32 Zeichen, am Anfang ein Buchstabe: a bis z, 0 bis 9, Punkt, Unterstrich, Bindestrich.",
    language: "Sprache",
    languageHint: "Für diese Seiten und für unsere E‑Mails an Sie.",
    automatic: "Automatisch",
    save: "Änderungen speichern",
    saved: "Ihre Änderungen sind gespeichert.",
    unchanged: "Es gibt nichts zu speichern.",
    changedElsewhere:
      "Ihr Profil wurde inzwischen anderswo geändert. Ihre Eingaben sind noch da: Prüfen Sie sie und speichern Sie noch einmal.",
    since: "Konto seit",
    lastSignIn: "Letzte Anmeldung",
  },

  address: {
    title: "E‑Mail-Adresse",
    confirmed: "Bestätigt",
    unconfirmed: "Nicht bestätigt",
    confirmLead: "Zeigen Sie uns, dass diese Adresse Ihnen gehört.",
    confirm: "Adresse bestätigen",
    changeTitle: "Adresse ändern",
    changeLead: "Wir senden einen Link und einen Code an die neue Adresse. Ihre bisherige Adresse gilt, bis Sie die neue bestätigt haben.",
    changeAtOnce: "Die Adresse Ihres Kontos ändert sich sofort. Melden Sie sich danach mit der neuen an.",
    undo: "Danach können Sie die Änderung sieben Tage lang mit einem Link aus Ihrem bisherigen Postfach rückgängig machen. So lange kann kein anderes Konto die bisherige Adresse verwenden.",
    new: "Neue E‑Mail-Adresse",
    same: "Das ist bereits die Adresse Ihres Kontos.",
    current: "Aktuelles Passwort",
    change: "Adresse ändern",
    changed: "Ihr Konto hat jetzt die Adresse {address}.",
    changedUndo: "Ihr Konto hat jetzt die Adresse {address}. Sieben Tage lang lässt sich die Änderung mit dem Link aus unserer E‑Mail an {before} rückgängig machen.",
    pendingTitle: "Neue Adresse bestätigen",
    pendingLead: "Wir haben eine E‑Mail an {address} gesendet. Geben Sie den Code daraus hier ein oder öffnen Sie den Link in diesem Browser. Bis dahin bleibt alles, wie es ist.",
    cancel: "Bisherige Adresse behalten",
    kept: "Ihr Konto behält die Adresse {address}.",
    noMail: "Keine E‑Mail erhalten?",
    noMailLead:
      "Schauen Sie im Spam-Ordner nach und prüfen Sie die Schreibweise der Adresse. Für eine weitere E‑Mail geben Sie bitte noch einmal Ihr Passwort ein.",
    sendAgain: "E‑Mail noch einmal senden",
    sentAgain: "Wir haben die E‑Mail noch einmal gesendet. Der Code darin ist derselbe.",
  },

  password: {
    title: "Passwort",
    lead: "Hier bleiben Sie angemeldet, überall sonst werden Sie abgemeldet.",
    change: "Passwort ändern",
    changed: "Ihr Passwort ist geändert",
    changedLead: "Hier sind Sie weiterhin angemeldet, überall sonst abgemeldet.",
    seeSessions: "Sehen, wo Sie angemeldet sind",
  },

  sessions: {
    title: "Wo Sie angemeldet sind",
    lead: "Wenn Ihnen eine Sitzung unbekannt ist, beenden Sie sie und ändern Sie Ihr Passwort.",
    list: "Ihre Sitzungen",
    current: "Diese Sitzung",
    browserOn: "{browser} ({system})",
    otherProgram: "Ein anderes Programm",
    used: "Zuletzt benutzt",
    started: "Angemeldet",
    network: "IP-Adresse",
    end: "Sitzung beenden",
    endOf: "Sitzung beenden: {browser}",
    ended: "Die Sitzung ist beendet: {browser}.",
    endedAlready: "Diese Sitzung war bereits beendet.",
    endOthers: "Alle anderen Sitzungen beenden",
    endOthersTitle: "Alle anderen Sitzungen beenden?",
    endOthersEffect: "Hier bleiben Sie angemeldet. Überall sonst müssen Sie sich neu anmelden.",
    endedOthers: "Alle anderen Sitzungen sind beendet.",
    onlyThis: "Sie sind sonst nirgends angemeldet.",
    more: "Mehr anzeigen",
  },

  close: {
    title: "Konto schließen",
    effect: "Damit wird Ihr Konto gelöscht. Das lässt sich nicht rückgängig machen:",
    effects: [
      "Sie werden überall abgemeldet und können sich bei Anwendungen, die dieses Konto verwenden, nicht mehr anmelden.",
      "Andere können Ihre Adresse und Ihren Benutzernamen danach verwenden. Ein neues Konto damit ist leer.",
    ],
    confirmation: "Geben Sie zur Bestätigung Ihre E‑Mail-Adresse ein",
    mismatch: "Geben Sie hier {address} ein.",
    close: "Konto endgültig schließen",
  },

  next: "Weiter",
} as const satisfies Translation<Texts>;

({}) satisfies Misplaced<Texts, typeof de>;

export default { shared, own: de };
