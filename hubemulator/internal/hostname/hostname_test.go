package hostname

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestOf(t *testing.T) {
	t.Parallel()
	contoso := Names{
		Classic: "contoso.azure-devices.net", Service: "contoso.service.azure-devices.net", Device: "contoso.device.azure-devices.net",
	}
	for name, want := range map[string]Names{
		"contoso.azure-devices.net":         contoso,
		"Contoso.Azure-Devices.NET":         contoso,
		"contoso.service.azure-devices.net": contoso,
		"contoso.device.azure-devices.net":  contoso,
		"device.azure-devices.cn": {
			"device.azure-devices.cn", "device.service.azure-devices.cn", "device.device.azure-devices.cn",
		},
		"fab-7.service.azure-devices.us": {
			"fab-7.azure-devices.us", "fab-7.service.azure-devices.us", "fab-7.device.azure-devices.us",
		},
		"azure-devices.net":                      {},
		".azure-devices.net":                     {},
		"contoso.east.azure-devices.net":         {},
		"contoso.azure-devices.net.example":      {},
		"contoso.azure-devices-provisioning.net": {},
		"localhost":                              {},
		"127.0.0.1":                              {},
		"":                                       {},
	} {
		NewWithT(t).Expect(Of(name)).To(Equal(want), name)
	}
}

func TestHas(t *testing.T) {
	t.Parallel()
	g, names := NewWithT(t), Of("contoso.azure-devices.net")
	for _, host := range []string{"contoso.azure-devices.net", "CONTOSO.Service.azure-devices.net:8443", "contoso.device.azure-devices.net"} {
		g.Expect(names.Has(host)).To(BeTrue(), host)
	}
	for _, host := range []string{"", "other.azure-devices.net", "localhost", "[::1]:443"} {
		g.Expect(names.Has(host)).To(BeFalse(), host)
		g.Expect(Names{}.Has(host)).To(BeFalse(), host)
		g.Expect(Names{}.ForDevices(host)).To(BeFalse(), host)
	}
	g.Expect(names.ForDevices("Contoso.device.azure-devices.net:443")).To(BeTrue())
	g.Expect(names.ForDevices("contoso.azure-devices.net")).To(BeFalse())
}
