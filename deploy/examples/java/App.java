import static java.nio.file.StandardWatchEventKinds.ENTRY_CREATE;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.X509ExtendedKeyManager;

/**
 * An HTTPS server whose certificate changes while it serves: `java App.java`.
 *
 * <p>BUNDLE is the directory where the agent puts tls.crt and tls.key, LISTEN is HOST:PORT.
 */
public final class App {
    private static final Path BUNDLE = Path.of(environment("BUNDLE", "/run/leasehold/web"));
    private static final int LOOK_EVERY = 5; // seconds, should a change have gone by unseen
    private static final Keys KEYS = new Keys();

    public static void main(String[] arguments) throws Exception {
        String[] listen = environment("LISTEN", "0.0.0.0:8443").split(":");
        var address = new InetSocketAddress(listen[0], Integer.parseInt(listen[1]));
        HttpsServer server = HttpsServer.create(address, 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", App::answer);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(new KeyManager[] {KEYS}, null, null);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        try (WatchService changes = FileSystems.getDefault().newWatchService()) {
            BUNDLE.register(changes, ENTRY_CREATE); // `..data` is replaced by a rename onto it
            Path current = takeUp(null);
            server.start();
            System.out.println("listening on " + address);
            while (true) {
                WatchKey change = changes.poll(LOOK_EVERY, TimeUnit.SECONDS);
                if (change != null) {
                    change.pollEvents();
                    change.reset();
                }
                current = takeUpIfSound(current);
            }
        }
    }

    /** The generation that is served from now on; the one before, where this one can't be read. */
    private static Path takeUpIfSound(Path current) {
        try {
            return takeUp(current);
        } catch (IOException | GeneralSecurityException error) {
            System.err.println("not now: " + error.getMessage());
            return current;
        }
    }

    /** The link is read once, so certificate and key are of one generation. */
    private static Path takeUp(Path current) throws IOException, GeneralSecurityException {
        Path generation = BUNDLE.resolve(Files.readSymbolicLink(BUNDLE.resolve("..data")));
        if (generation.equals(current)) {
            return current;
        }
        X509Certificate[] chain = chainIn(generation.resolve("tls.crt"));
        String algorithm = chain[0].getPublicKey().getAlgorithm();
        PrivateKey key = keyIn(generation.resolve("tls.key"), algorithm);
        KEYS.use(generation.getFileName().toString(), key, chain);
        String serial = chain[0].getSerialNumber().toString(16);
        System.out.println(generation.getFileName() + ": serving " + serial);
        return generation;
    }

    private static X509Certificate[] chainIn(Path file)
            throws IOException, GeneralSecurityException {
        var bytes = new ByteArrayInputStream(Files.readAllBytes(file));
        return CertificateFactory.getInstance("X.509")
                .generateCertificates(bytes)
                .toArray(X509Certificate[]::new);
    }

    /** PKCS #8 is the one PEM that Java reads: `private_key_format: pkcs8` in the configuration. */
    private static PrivateKey keyIn(Path file, String algorithm)
            throws IOException, GeneralSecurityException {
        String encoded = Files.readString(file).replaceAll("-----[A-Z ]+-----", "");
        byte[] decoded = Base64.getMimeDecoder().decode(encoded);
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(decoded));
    }

    private static void answer(HttpExchange exchange) throws IOException {
        byte[] body = "well\n".getBytes();
        exchange.sendResponseHeaders(200, body.length);
        try (var output = exchange.getResponseBody()) {
            output.write(body);
        }
    }

    private static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    /** What handshakes ask for: the newest pair; the one before for those that are under way. */
    private static final class Keys extends X509ExtendedKeyManager {
        private record Pair(String name, PrivateKey key, X509Certificate[] chain, Pair before) {}

        private volatile Pair newest;

        void use(String name, PrivateKey key, X509Certificate[] chain) {
            Pair now = newest;
            Pair before = now == null ? null : new Pair(now.name, now.key, now.chain, null);
            newest = new Pair(name, key, chain, before);
        }

        @Override
        public String chooseEngineServerAlias(String type, Principal[] issuers, SSLEngine engine) {
            Pair now = newest;
            return type.startsWith(now.key.getAlgorithm()) ? now.name : null;
        }

        @Override
        public PrivateKey getPrivateKey(String name) {
            return named(name).key;
        }

        @Override
        public X509Certificate[] getCertificateChain(String name) {
            return named(name).chain;
        }

        private Pair named(String name) {
            Pair now = newest;
            return now.before != null && now.before.name.equals(name) ? now.before : now;
        }

        @Override
        public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
            return chooseEngineServerAlias(type, issuers, null);
        }

        @Override
        public String[] getServerAliases(String type, Principal[] issuers) {
            return new String[] {newest.name};
        }

        @Override
        public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
            return null;
        }

        @Override
        public String[] getClientAliases(String type, Principal[] issuers) {
            return null;
        }
    }
}
