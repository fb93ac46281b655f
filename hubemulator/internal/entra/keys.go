package entra

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"
)

// How the keys at a URL are kept. Issuers announce keys long before they sign
// with them, so an hour is often enough; a key that is not known yet is looked
// for at once, but not for every token that claims one.
const (
	keysRefresh    = time.Hour
	keysUnknown    = time.Minute
	keysTimeout    = 5 * time.Second
	schemeHTTPS    = "https://"
	schemeInsecure = "http://"
)

// LoadKeys reads the JSON Web Key Set of an issuer from an https URL or a
// file. The keys at a URL are fetched now, and kept up to date until ctx ends;
// roots are whom to trust there, nil for the system's authorities. The logger
// is told when they cannot be fetched later.
func LoadKeys(ctx context.Context, source string, roots *x509.CertPool, logger *slog.Logger) (keyfunc.Keyfunc, error) {
	switch {
	case strings.HasPrefix(source, schemeInsecure):
		return nil, fmt.Errorf("the key set %s should be at an https URL or in a file: over http anybody could replace the keys", source)
	case strings.HasPrefix(source, schemeHTTPS):
		return fetchedKeys(ctx, source, roots, logger)
	}
	document, err := os.ReadFile(source)
	if err != nil {
		return nil, fmt.Errorf("the key set cannot be read: %w", err)
	}
	keys, err := ParseKeys(document)
	if err != nil {
		return nil, fmt.Errorf("the key set in %s: %w", source, err)
	}
	return keys, nil
}

// ParseKeys reads a JSON Web Key Set.
func ParseKeys(document []byte) (keyfunc.Keyfunc, error) {
	keys, err := keyfunc.NewJWKSetJSON(document)
	if err != nil {
		return nil, fmt.Errorf("should be a JSON Web Key Set: %w", err)
	}
	return keys, notEmpty(context.Background(), keys)
}

func fetchedKeys(ctx context.Context, url string, roots *x509.CertPool, logger *slog.Logger) (keyfunc.Keyfunc, error) {
	failAtOnce := false
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{
		Client: &http.Client{Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, // the next fetch is an hour away
		}},
		HTTPTimeout:               keysTimeout,
		NoErrorReturnFirstHTTPReq: &failAtOnce,
		RefreshInterval:           keysRefresh,
		RefreshUnknownKID:         rate.NewLimiter(rate.Every(keysUnknown), 1),
		RateLimitWaitMax:          keysTimeout,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(ctx context.Context, err error) {
				logger.WarnContext(ctx, "The issuer's keys cannot be fetched; the known ones stay in use", "url", url, "error", err)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("the key set at %s cannot be fetched: %w", url, err)
	}
	if err := notEmpty(ctx, keys); err != nil {
		return nil, fmt.Errorf("the key set at %s: %w", url, err)
	}
	return keys, nil
}

func notEmpty(ctx context.Context, keys keyfunc.Keyfunc) error {
	found, err := keys.VerificationKeySet(ctx)
	if err != nil {
		return err
	}
	if len(found.Keys) == 0 {
		return errors.New("holds no key that could be used")
	}
	return nil
}
