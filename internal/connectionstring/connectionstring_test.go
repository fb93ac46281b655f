package connectionstring_test

import (
	"encoding/base64"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/connectionstring"
)

const (
	key  = "VGhpcyBpcyBub3QgYSByZWFsIGtleSwganVzdCAzMiBi"
	good = "HostName=factory.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=" + key
)

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestSplitNamesWhatWasPasted: what to do about it cannot be found out from the
// parts that are missing.
func TestSplitNamesWhatWasPasted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, says string }{
		"quotes":                {`"` + good + `"`, "stands in quotation marks"},
		"single quotes":         {"'" + good + "'\n", "stands in quotation marks"},
		"typographic quotes":    {"“" + good + "”", "stands in quotation marks"},
		"a byte order mark":     {"\ufeff" + good, "begins with a byte order mark"},
		"UTF-16":                {"\xff\xfe" + strings.Join(strings.Split(good, ""), "\x00") + "\x00", "no UTF-8 text, but UTF-16 perhaps"},
		"UTF-16, no mark":       {strings.Join(strings.Split(good, ""), "\x00") + "\x00", "no UTF-8 text, but UTF-16 perhaps"},
		"an env line":           {"connectionString=" + good, `begins with a name and "="`},
		"an exported one":       {"export IOTHUB_CONNECTION_STRING='" + good + "'", `begins with a name and "="`},
		"PowerShell":            {`$env:IOTHUB = "` + good + `"`, `begins with a name and "="`},
		"YAML":                  {"connectionString: " + good, `begins with a name and "="`},
		"an env file":           {"A=" + good + "\nB=c\n", `begins with a name and "="`},
		"JSON of az":            {`{"connectionString": "` + good + `"}`, "is JSON, as az prints it"},
		"a list of az":          {"[\n  \"" + good + "\"\n]", "is JSON, as az prints it"},
		"base64 twice":          {encoded(good), "base64 once too often"},
		"base64 thrice":         {encoded(encoded(good) + "\n"), "base64 once too often"},
		"base64 without =":      {strings.TrimRight(encoded(good+"="), "="), "base64 once too often"},
		"base64 of JSON":        {encoded(`{"connectionString": "` + good + `"}`), "base64 once too often"},
		"two lines":             {good[:60] + "\n" + good[60:], "broken into several lines"},
		"two of them":           {good + "\r\n" + good, "several connection strings"},
		"a zero-width space":    {"HostName=\u200b" + good[9:], "its character 10 is U+200B"},
		"a token":               {"SharedAccessSignature sr=h&sig=" + key + "&se=1&skn=service", "a shared access signature"},
		"Event Hubs":            {"Endpoint=sb://ihsuprod.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey=" + key + ";EntityPath=factory", "Event Hubs-compatible endpoint"},
		"Event Hubs in quotes":  {`"Endpoint=sb://x/;SharedAccessKey=` + key + `"`, "stands in quotation marks"},
		"Event Hubs in env":     {"EVENTHUB=Endpoint=sb://x/;SharedAccessKey=" + key, `begins with a name and "="`},
		"a storage account":     {"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + key, "a storage account"},
		"provisioning":          {"HostName=f.azure-devices-provisioning.net;SharedAccessKeyName=p;SharedAccessKey=" + key, "a Device Provisioning Service"},
		"Application Insights":  {"InstrumentationKey=0;IngestionEndpoint=https://x/", "Application Insights"},
		"something else":        {"HostName=h;" + key, "part 2 is not of the form Name=Value"},
		"a part that is double": {"HostName=h;hostname =i", "part 2 names something that an earlier part has named"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := connectionstring.Split(tt.text)
			g.Expect(err).To(MatchError(ContainSubstring(tt.says)))
			g.Expect(err.Error()).NotTo(Or(ContainSubstring(key[:8]), ContainSubstring("factory")), "no value is quoted")
		})
	}
}

func TestSplitTakesBlanks(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, text := range []string{
		good, "\n " + good + " ;\r\n", "HostName = factory.azure-devices.net ; SharedAccessKeyName = service ;\tSharedAccessKey = " + key,
		"\u00a0" + good, "hostname=factory.azure-devices.net;SHAREDACCESSKEYNAME=service;sharedAccessKey=" + key,
	} {
		parts, err := connectionstring.Split(text)
		g.Expect(err).NotTo(HaveOccurred(), text)
		g.Expect(parts.Get(connectionstring.HostName)).To(Equal("factory.azure-devices.net"))
		g.Expect(parts.Get(connectionstring.SharedAccessKeyName)).To(Equal("service"))
		g.Expect(parts.Get(connectionstring.SharedAccessKey)).To(Equal(key))
		g.Expect(parts.Missing("HostName", "DeviceId", "x")).To(Equal([]string{"DeviceId", "x"}))
		g.Expect(parts.Has("deviceid")).To(BeFalse())
	}
}

func TestParseHostName(t *testing.T) {
	t.Parallel()
	const noHost, noAddress = "is not a plain host name; it looks like", "what stands in brackets there is an IPv6 address without a zone"
	for text, tt := range map[string]struct{ host, name, says string }{
		"My-Hub.Azure-Devices.NET":         {host: "my-hub.azure-devices.net", name: "my-hub.azure-devices.net"},
		"localhost:8443":                   {host: "localhost:8443", name: "localhost"},
		"h.example:443":                    {host: "h.example", name: "h.example"},
		"127.0.0.1:1":                      {host: "127.0.0.1:1", name: "127.0.0.1"},
		"[::1]":                            {host: "[::1]", name: "::1"},
		"[::1]:8443":                       {host: "[::1]:8443", name: "::1"},
		"[2001:DB8:0:0:0:0:0:1]:443":       {host: "[2001:db8::1]", name: "2001:db8::1"},
		"::1":                              {says: "is an IPv6 address without brackets"},
		"2001:db8::1":                      {says: "is an IPv6 address without brackets"},
		"[::1":                             {says: noAddress},
		"[::1]x":                           {says: noHost},
		"[::1]:":                           {says: "has a port that is not a number"},
		"[::1]:0":                          {says: "has a port that is not a number"},
		"[::1]:80/x":                       {says: noHost},
		"[fe80::1%eth0]":                   {says: noAddress},
		"[127.0.0.1]":                      {says: noAddress},
		"[my-hub.azure-devices.net]":       {says: noAddress},
		"[[::1]]:8443":                     {says: noAddress},
		"https://my-hub.azure-devices.net": {says: noHost},
		"":                                 {says: noHost},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			host, err := connectionstring.ParseHostName(text)
			if tt.says != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tt.says)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(host).To(Equal(tt.host))
			g.Expect(connectionstring.Name(host)).To(Equal(tt.name))
		})
	}
}
